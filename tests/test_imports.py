"""Imports go one way only: functional <- layers <- heads <- meta_arch <- training, inference."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "unified_seg"

# What of unified_seg each part may import, beside itself; and packages that it must do without.
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "functional": set(),
    "layers": {"functional"},
    "backbones": {"functional", "layers"},
    "heads": {"functional", "layers"},
    "fusion": {"functional"},
    "data": {"functional", "config"},
    "evaluation": {"functional", "data"},
    "visualization": {"functional", "data"},
    "meta_arch": {"functional", "layers", "backbones", "heads", "fusion", "data", "config"},
    "inference": {
        "config", "functional", "layers", "backbones", "heads", "fusion", "data", "meta_arch", "training",
    },
    "training": {
        "config", "functional", "layers", "backbones", "heads", "fusion", "data", "meta_arch", "evaluation",
        "visualization", "inference",
    },
}  # fmt: skip
# Of a part that is otherwise out of reach, these modules are fine.
ONLY = {("inference", "training"): {"unified_seg.training.checkpoint"}}
BANNED = {"functional": {"detectron2"}}
# The generator draws with numpy and OpenCV alone, so that it can be run before anything else is installed.
TOYSCAPES = "unified_seg.data.toyscapes"


def imports_of(file: Path) -> Iterator[str]:
    """The full names of what a file imports, wherever in it: `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The generator's imports are relative, so that it runs without the rest of the library.
            above = file.parent.relative_to(ROOT).parts[: len(file.relative_to(ROOT).parts) - node.level]
            module = ".".join([*(above if node.level else ()), *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def part_of(file: Path) -> str:
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


FILES = sorted(LIBRARY.rglob("*.py"))
IDS = [file.relative_to(ROOT).as_posix() for file in FILES]


def test_every_part_has_its_rule() -> None:
    assert {part_of(file) for file in FILES} - {"__init__"} <= ALLOWED.keys()
    assert len(FILES) > 40


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_the_library_imports_one_way(file: Path) -> None:
    part = part_of(file)
    if part == "__init__":
        return  # it registers everything
    for name in imports_of(file):
        top, *rest = name.split(".")
        assert top not in ("tools", "projects", "tests"), f"{file} imports {name}"
        assert top not in BANNED.get(part, ()), f"{file} imports {name}"
        if top != "unified_seg":
            continue
        # `import unified_seg` alone is for its version.
        assert rest or part in ("training", "inference"), f"{file} imports all of unified_seg"
        if rest and rest[0] != part:
            assert rest[0] in ALLOWED[part], f"{part} may not import {name}: {file}"
            only = ONLY.get((part, rest[0]))
            assert only is None or any(is_in(name, module) for module in only), f"{part} may not import {name}"


@pytest.mark.parametrize("file", sorted((LIBRARY / "data/toyscapes").rglob("*.py")), ids=lambda f: f.name)
def test_the_generator_stands_alone(file: Path) -> None:
    for name in imports_of(file):
        assert not is_in(name, "unified_seg") or is_in(name, TOYSCAPES), f"{file} imports {name}"
        assert name.split(".")[0] not in ("torch", "detectron2", "torchvision"), f"{file} imports {name}"


@pytest.mark.parametrize("file", sorted((ROOT / "projects").rglob("*.py")), ids=lambda f: f"{f.parent.name}/{f.name}")
def test_projects_import_the_library_and_not_each_other(file: Path) -> None:
    own = file.relative_to(ROOT).parts[1]
    siblings = {folder.name for folder in (ROOT / "projects").iterdir()} - {own}
    for name in imports_of(file):
        parts = name.split(".")
        assert parts[0] != "tools" and parts[0] not in siblings, f"{file} imports {name}"
        assert parts[0] != "projects" or parts[1:2] == [own], f"{file} imports {name}"


def test_the_rules_would_notice() -> None:
    names = set(imports_of(LIBRARY / "layers/level_conv.py"))
    assert "unified_seg.layers.conv.init_classifier" in names and "torch" in names
    assert any(is_in(name, TOYSCAPES) for name in imports_of(LIBRARY / "data/toyscapes/__init__.py"))
    assert "training" not in ALLOWED["meta_arch"] and "meta_arch" not in ALLOWED["heads"]
