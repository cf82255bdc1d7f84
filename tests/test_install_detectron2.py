"""The installer of Detectron2: the pinned release, its changes for newer packages, and the wheel."""

import ast
import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from unified_seg_cli import install_detectron2 as installer

SCRIPT = Path(__file__).parent.parent / "tools/install_detectron2.py"


def test_release_is_pinned_by_hash() -> None:
    assert installer.RELEASE == "pb1-detectron2==0.6"
    assert installer.SHA256 == "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"


@pytest.mark.end_to_end
def test_installed_detectron2_is_kept(tmp_path: Path) -> None:
    import detectron2

    file = Path(detectron2.__file__)
    before = file.stat().st_mtime_ns
    # The current folder has a file of the same name, which must not be mistaken for the installed package.
    (tmp_path / "detectron2.py").write_text("__version__ = 'impostor'")
    result = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert f"detectron2 {detectron2.__version__} is already installed" in result.stdout
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x = np.bool", "x = bool"),
        ("a.astype(np.int)", "a.astype(int)"),
        ("np.float(3), np.int(4)", "float(3), int(4)"),
        # numpy still has these names.
        ("np.bool_ np.int32 np.int64 np.float32 np.floating", "np.bool_ np.int32 np.int64 np.float32 np.floating"),
        ("mynp.int", "mynp.int"),
    ],
)
def test_removed_aliases_of_numpy_become_builtins(old: str, new: str) -> None:
    assert installer.modernize("detectron2/any.py", old) == new


def test_removed_alias_of_pillow_is_replaced() -> None:
    name = "detectron2/data/transforms/transform.py"
    assert installer.modernize(name, "interp=Image.LINEAR, fill=0") == "interp=Image.BILINEAR, fill=0"


def test_compiled_evaluation_is_replaced_by_pycocotools() -> None:
    text = (
        "from pycocotools.cocoeval import COCOeval\n"
        "try:\n"
        "    from detectron2.evaluation.fast_eval_api import COCOeval_opt\n"
        "except ImportError:\n"
        "    COCOeval_opt = COCOeval\n"
    )
    fixed = installer.modernize("detectron2/evaluation/coco_evaluation.py", text)
    assert "fast_eval_api" not in fixed
    ast.parse(fixed)


def test_pkg_resources_is_replaced() -> None:
    text = (
        "import os\nimport pkg_resources\n\n"
        "def get(config_path):\n"
        "    return pkg_resources.resource_filename(\n"
        '        "detectron2.model_zoo", os.path.join("configs", config_path)\n'
        "    )\n"
    )
    fixed = installer.modernize("detectron2/model_zoo/model_zoo.py", text)
    assert "pkg_resources" not in fixed
    scope: dict = {}
    exec(fixed, scope)
    try:
        found = scope["get"]("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    except ModuleNotFoundError as error:
        pytest.skip(f"the model zoo of this Detectron2 does not import with today's setuptools: {error}")
    assert isinstance(found, str) and found.endswith(
        "detectron2/model_zoo/configs/COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
    )


def test_release_without_expected_text_raises_an_error() -> None:
    for name in installer.EDITS:
        with pytest.raises(installer.InstallError, match="the fix changes nothing"):
            installer.modernize(name, "import os\n")


def fake_release(folder: Path) -> Path:
    """Write a source tree with the files that are changed, and one of each project."""
    source = folder / "release"
    files = {
        "LICENSE": "Apache",
        "detectron2/__init__.py": "__version__ = '0.6'",
        "detectron2/any.py": "x = np.bool",
        "detectron2/configs/x.yaml": "a: np.bool",
        "detectron2/__pycache__/any.pyc": "",
        "detectron2/data/transforms/transform.py": "Image.LINEAR",
        "detectron2/evaluation/coco_evaluation.py": "from detectron2.evaluation.fast_eval_api import COCOeval_opt",
        "detectron2/model_zoo/model_zoo.py": "import pkg_resources",
        **{f"{origin}/__init__.py": "" for origin in installer.PROJECTS},
        "setup.py": "raise SystemExit",
    }
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return source


def test_wheel_contains_changed_files_and_record(tmp_path: Path) -> None:
    wheel = installer.build_wheel(fake_release(tmp_path), tmp_path)
    assert wheel.name == "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert content["detectron2/any.py"] == b"x = bool"
    assert content["detectron2/configs/x.yaml"] == b"a: np.bool"  # only Python is changed
    assert "detectron2/projects/deeplab/__init__.py" in content
    assert not any("__pycache__" in name or "setup.py" in name for name in content)
    # pip checks the hash of every file in the record.
    rows = [row.split(",") for row in content["detectron2-0.6.dist-info/RECORD"].decode().split()]
    assert {row[0] for row in rows} == content.keys()
    for name, digest, size in rows:
        if digest:
            assert int(size) == len(content[name])
            expected = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={expected}"


def test_compiled_operator_raises_an_error_with_its_name() -> None:
    module = ModuleType("detectron2._C")
    exec(installer.STAND_IN_FOR_C, module.__dict__)
    with pytest.raises(ImportError, match=r"detectron2\._C\.nms_rotated is a compiled operator"):
        _ = module.nms_rotated
    assert not hasattr(module, "__path__")


def test_broken_package_raises_an_error_absent_one_does_not() -> None:
    assert installer.find_version("there_is_no_such_package") == ""
    # A module without a version counts as broken.
    with pytest.raises(installer.InstallError, match=r"wave is installed in .* but does not import"):
        installer.find_version("wave")
