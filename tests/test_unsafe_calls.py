"""Calls that would run code of a file, leave its folder or write it in place; ruff's S rules forbid the others.

Each exception names its file and its reason.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("unified_seg", "unified_seg_cli", "unified_seg_files", "toyscapes", "datasets", "projects")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "imp",
    "telnetlib",
    "ftplib",
}
NAMES_OF_RECORDS = {"file_name", "sem_seg_file_name", "pan_seg_file_name", "imagePath"}


def name_of(node: ast.AST) -> str:
    """Return a dotted name such as torch.load, of which the unknown start is a dot."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def has_constant(call: ast.Call, keyword: str, value: object) -> bool:
    found = [each.value for each in call.keywords if each.arg == keyword]
    return len(found) == 1 and isinstance(found[0], ast.Constant) and found[0].value is value


def has_keyword(call: ast.Call, keyword: str) -> bool:
    return any(each.arg == keyword for each in call.keywords)


CALLS: dict[str, Callable[[str, ast.Call], bool]] = {
    "torch.load without weights_only=True": lambda name, call: (
        name == "torch.load" and not has_constant(call, "weights_only", True)
    ),
    "numpy.load without allow_pickle=False": lambda name, call: (
        name in ("np.load", "numpy.load") and not has_constant(call, "allow_pickle", False)
    ),
    "Image.open without formats": lambda name, call: name.endswith("Image.open") and not has_keyword(call, "formats"),
    "eval, exec, compile or __import__": lambda name, _: name in ("eval", "exec", "compile", "__import__"),
    "YAML outside of parse_yaml": lambda name, _: name.startswith("yaml.") and "load" in name,
    "Detectron2's downloads": lambda name, _: "PathManager" in name or name.endswith(("get_local_path", "urlretrieve")),
    "a URL opened outside of `fetch`": lambda name, _: name.endswith(("urlopen", "opener.open")),
    "os.path.join": lambda name, _: name == "os.path.join",
    "writing in place": lambda name, _: (
        name.endswith((".write_text", ".write_bytes", "cv2.imwrite", "torch.save")) and not name.startswith("unified")
    ),
    "deleting through links": lambda name, _: name.endswith(("shutil.rmtree", ".removedirs")),
}
EXCEPTIONS = {
    # The temporary file of `write_atomically`.
    ("unified_seg/checkpoint/files.py", "writing in place"),
    # The scheme and each redirect are checked.
    ("unified_seg/checkpoint/downloads.py", "a URL opened outside of `fetch`"),
    # pypi://, whose handler knows the digest of each file.
    ("unified_seg/checkpoint/downloads.py", "Detectron2's downloads"),
    ("unified_seg/checkpoint/pypi_weights.py", "Detectron2's downloads"),
    # In a temporary folder of its own.
    ("unified_seg/checkpoint/pypi_weights.py", "writing in place"),
    ("unified_seg_cli/install_detectron2.py", "writing in place"),
    # After its events are counted, with a safe loader.
    ("unified_seg_files/yaml_text.py", "YAML outside of parse_yaml"),
    # Links are deleted themselves.
    ("unified_seg_files/writing.py", "deleting through links"),
    # An unpickler that knows arrays alone; errors of PyTorch's reader.
    ("unified_seg/checkpoint/files.py", "a module that runs code of files: pickle"),
    ("projects/fusion_scheme/detector_quality.py", "a module that runs code of files: pickle"),
    # File names that the exporter made itself of escaped image ids.
    ("unified_seg/evaluation/export.py", "a path of a record without resolve_below"),
    # A temporary folder of its own.
    ("projects/fusion_scheme/detector_quality.py", "writing in place"),
}


def find_unsafe(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the kind of what is unsafe in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            for kind, is_unsafe in CALLS.items():
                if is_unsafe(name, node):
                    yield node.lineno, kind
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in {module.partition(".")[0] for module in modules} & UNSAFE_MODULES:
                yield node.lineno, f"a module that runs code of files: {module}"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            right = node.right
            key = (
                right.slice.value
                if isinstance(right, ast.Subscript) and isinstance(right.slice, ast.Constant)
                else None
            )
            if key in NAMES_OF_RECORDS or (isinstance(right, ast.Attribute) and right.attr in NAMES_OF_RECORDS):
                yield node.lineno, "a path of a record without resolve_below"


def test_no_file_makes_an_unsafe_call() -> None:
    found, used = [], set()
    for file in FILES:
        name = file.relative_to(ROOT).as_posix()
        for line, kind in find_unsafe(ast.parse(file.read_text(encoding="utf-8"))):
            if (name, kind) in EXCEPTIONS:
                used.add((name, kind))
            else:
                found.append(f"{name}:{line}: {kind}")
    assert not found
    assert used == {(name, kind) for name, kind in EXCEPTIONS if (ROOT / name).is_file()}


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "Image.open(f)",
        "PIL.Image.open(f)",
        "eval(x)",
        "yaml.load(x, Loader=yaml.SafeLoader)",
        "yaml.unsafe_load(x)",
        "PathManager.open(x)",
        "urllib.request.urlopen(x)",
        "os.path.join(root, x)",
        "path.write_text(x)",
        "cv2.imwrite(x, y)",
        "shutil.rmtree(x)",
        "import pickle",
        "from pickle import loads",
        "root / record['file_name']",
        "root / image.file_name",
    ],
)
def test_unsafe_calls_are_found(code: str) -> None:
    assert list(find_unsafe(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["torch.load(f, weights_only=True)", "Image.open(f, formats=('PNG',))", "model.eval()", "root / name"]
)
def test_safe_calls_are_not(code: str) -> None:
    assert not list(find_unsafe(ast.parse(code)))
