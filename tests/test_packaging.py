"""The wheel: what it holds, and that it works in an environment and a folder of its own."""

import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, since building leaves a folder `build`.
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, files.stdout.decode().split("\0")):
        if name.startswith(("tests/", "docs/")) or not (ROOT / name).is_file():
            continue
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True)
    (file,) = folder.glob("*.whl")
    return file


def test_wheel_has_each_config_once_and_the_templates(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("unified_seg/shipped/") for name in names if name.startswith("unified_seg/shipped/")}
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("configs/**/*.yaml")}
    expected |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("projects/*/configs/*.yaml")}
    groups = {f"projects/confusion_groups/{data}/groups.json" for data in ("camvid", "toyscapes")}
    assert expected | groups == shipped
    assert {"unified_seg/html_reports/base.html.j2", "unified_seg/html_reports/style.css"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "tools/", "projects/", "configs/"))]


def test_commands_work_in_a_new_environment_and_another_folder(wheel: Path, tmp_path: Path) -> None:
    """The packages that it requires are those of this environment; this checkout is not among them."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))

    def run(*words: str) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"PATH": f"{python.parent}:{os.environ['PATH']}", "DETECTRON2_DATASETS": "data"}
        done = subprocess.run(
            ["unified-seg", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert "rank " in run("--help")
    small = ["SOLVER.MAX_ITER", "2", "DATALOADER.NUM_WORKERS", "0", "MODEL.DEVICE", "cpu"]
    printed = run("run-demo", "--output", "out", "--train", "4", "--val", "2", *small)
    assert "out/pictures" in printed
    image = next(tmp_path.glob("data/toyscapes_demo/leftImg8bit/val/**/*.png"))
    run("demo", "--weights", "out/model_final.pth", "--input", str(image), "--output", "drawn.png")
    assert (tmp_path / "drawn.png").is_file()
    config = "configs/toyscapes/unified_demo.yaml"
    assert "mean of all" in run("eval", "--config-file", config, "MODEL.WEIGHTS", "out/model_final.pth")
