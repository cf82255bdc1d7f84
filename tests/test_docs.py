"""The documents: their links, files, commands, options and config keys exist, and the program in the README runs."""

import contextlib
import functools
import importlib
import io
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from detectron2.config import CfgNode

from unified_seg.config import get_config
from unified_seg.meta_arch import build_model

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("projects/*/README.md"), *ROOT.glob("datasets/*.md")}
)
FOLDERS = "configs|datasets|docs|projects|tests|tools|toyscapes|unified_seg"
# A reader writes these.
PLACEHOLDER = re.compile(r"\bmy_|<\w+>")
# Detectron2's, and the free part of a stage's name.
KEY = re.compile(r"\.?[A-Z][A-Z0-9_]*(?:\.(?:[a-z_]+\.)?[A-Z][A-Z0-9_]*)+")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_links_lead_to_files() -> None:
    missing = [
        f"{name_of(file)}: {link}"
        for file in DOCUMENTS
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(file))
        if "://" not in link and not (file.parent / link).exists()
    ]
    assert not missing


def test_links_to_headings_lead_to_headings() -> None:
    missing = []
    for file in DOCUMENTS:
        for link, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", read(file)):
            if "://" not in link and anchor not in anchors(file.parent / link if link else file):
                missing.append(f"{name_of(file)}: {link}#{anchor}")
    assert not missing


def anchors(file: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(file), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_named_files_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        paths = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]+\.(?:py|yaml|json|npz|md|png|jpg)\b", read(file))
        scripts = [name for name in inline_code(read(file)) if re.fullmatch(r"[\w*]+\.py", name)]
        missing += [f"{name_of(file)}: {path}" for path in paths if not exists(path)]
        missing += [f"{name_of(file)}: {name}" for name in scripts if not exists(f"**/{name}")]
    assert not missing


def exists(pattern: str) -> bool:
    return bool(PLACEHOLDER.search(pattern)) or any(ROOT.glob(pattern))


def test_named_python_objects_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        for name in inline_code(read(file)):
            if re.fullmatch(r"(?:unified_seg|toyscapes)(?:\.\w+)+", name) and not can_import(name):
                missing.append(f"{name_of(file)}: {name}")
    assert not missing


def can_import(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute) or bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return False


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", read(ROOT / "Makefile"), flags=re.MULTILINE)
    missing = []
    for file in DOCUMENTS:
        code = [*inline_code(read(file)), *"\n".join(code_blocks(read(file), "bash")).splitlines()]
        missing += [
            f"{name_of(file)}: {line}" for line in code if (m := re.match(r"make (\w+)", line)) and m[1] not in targets
        ]
    assert not missing


def test_config_keys_exist() -> None:
    endings = key_endings(get_config()) | {"RESULT"}  # of a stage
    missing = []
    for file in DOCUMENTS:
        text = read(file)
        code = " ".join([*inline_code(text), *code_blocks(text, "bash")])
        keys = set(KEY.findall(code)) | {key for block in code_blocks(text, "yaml") for key in yaml_keys(block)}
        keys = {re.sub(r"^STAGES\.[a-z_]+\.", "", key).removeprefix(".") for key in keys}
        missing += [f"{name_of(file)}: {key}" for key in sorted(keys - endings)]
    assert not missing


def key_endings(cfg: CfgNode) -> set[str]:
    """Every key, and every part of it that a table below `MODEL.SEM_SEG_HEAD` may name: SEM_SEG_HEAD.NAME, NAME."""
    endings = set()
    for key in leaves_and_nodes(cfg):
        parts = key.split(".")
        endings |= {".".join(parts[i:]) for i in range(len(parts))}
    return endings


def leaves_and_nodes(node: dict, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from leaves_and_nodes(value, f"{prefix}{key}.")


def yaml_keys(block: str) -> Iterator[str]:
    """The config keys of a code block; none of a block that is no config, such as a list of classes."""
    content = yaml.safe_load(block)
    if isinstance(content, dict):
        yield from (key for key in leaves_and_nodes(content) if not re.fullmatch(r"_BASE_|STAGES(\.[a-z_]+)?", key))


def test_options_of_commands_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        for script, command, options in commands(read(file)):
            known = help_of(script, command)
            missing += [f"{name_of(file)}: {script} {option}" for option in options if option not in known]
    assert not missing


def test_options_in_prose_exist() -> None:
    known = set().union(*(help_of(*command) for command in all_commands()))
    missing = []
    for file in DOCUMENTS:
        named = [code.split()[0] for code in inline_code(read(file)) if code.startswith("--")]
        missing += [f"{name_of(file)}: {option}" for option in named if option not in known]
    assert not missing


def commands(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Script, subcommand or "", and options of each command in a code block or a table."""
    lines = "\n".join([*code_blocks(text, "bash"), *inline_code(text)]).replace("\\\n", " ").splitlines()
    for line in lines:
        if match := re.match(r"python3? ((?:tools|projects|datasets)/[\w/]+\.py)(?: ([a-z][\w-]*)(?= |$))?(.*)", line):
            script, command, rest = match.groups()
            yield script, command or "", re.findall(r"(?<= )--[a-z][a-z-]*", f" {rest}")


def all_commands() -> set[tuple[str, str]]:
    named = {(script, command) for file in DOCUMENTS for script, command, _ in commands(read(file))}
    return named | {(name_of(tool), "") for tool in ROOT.glob("tools/*.py")}


@functools.cache
def help_of(script: str, command: str) -> frozenset[str]:
    """The options that --help of a script, or of its subcommand, prints."""
    before, path, modules = sys.argv, list(sys.path), set(sys.modules)
    sys.argv, printed = [script, *([command] if command else []), "--help"], io.StringIO()
    sys.path.insert(0, str((ROOT / script).parent))
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before, path
        for name in set(sys.modules) - modules:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str((ROOT / script).parent)):
                del sys.modules[name]
    return frozenset(re.findall(r"--[a-z][a-z-]*", printed.getvalue()))


def test_imports_in_python_blocks_work() -> None:
    for file in DOCUMENTS:
        for block in code_blocks(read(file), "python"):
            imports = [line for line in block.splitlines() if re.match(r"(from|import) ", line)]
            exec("\n".join(imports), {})


def test_program_in_readme_runs(tiny_config: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = code_blocks(read(ROOT / "README.md"), "python")
    config, weights = tmp_path / "configs/toyscapes/unified_demo.yaml", tmp_path / "output/demo/model_final.pth"
    for file in (config, weights):
        assert name_of(ROOT / file.relative_to(tmp_path)) in program
        file.parent.mkdir(parents=True)
    config.write_text(tiny_config.dump())
    torch.save({"model": build_model(tiny_config).state_dict()}, weights)
    street = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "street.png"), street)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    assert cv2.imread("drawn.png").shape[1] >= 128
