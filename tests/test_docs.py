"""Links, files, commands, options and config keys in the documents exist, and the program in the README runs."""

import contextlib
import functools
import importlib
import io
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from detectron2.config import CfgNode
from example_heads import import_example_heads
from matplotlib import pyplot as plt
from random_model import random_state

from unified_seg.checkpoint import write_checkpoint
from unified_seg.config import get_config
from unified_seg.config.reading import REMOVED_KEYS
from unified_seg.data.resolve import resolve_config
from unified_seg.inference.training_description import describe_training
from unified_seg_cli.main import COMMANDS
from unified_seg_cli.main import main as run_unified_seg

import_example_heads()

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("projects/*/README.md"), *ROOT.glob("datasets/*.md")}
)
FOLDERS = "configs|datasets|docs|projects|tests|tools|toyscapes|unified_seg"
# Files that the reader writes.
PLACEHOLDER = re.compile(r"\bmy_|<\w+>")
# Two or more parts, of which one may be the name of a stage.
KEY = re.compile(r"\.?[A-Z][A-Z0-9_]*(?:\.(?:[a-z_]+\.)?[A-Z][A-Z0-9_]*)+")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def get_name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def find_code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def find_inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def test_links_lead_to_files() -> None:
    missing = [
        f"{get_name(file)}: {link}"
        for file in DOCUMENTS
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(file))
        if "://" not in link and not (file.parent / link).exists()
    ]
    assert not missing


def test_links_to_headings_lead_to_headings() -> None:
    missing = []
    for file in DOCUMENTS:
        for link, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", read(file)):
            if "://" not in link and anchor not in list_anchors(file.parent / link if link else file):
                missing.append(f"{get_name(file)}: {link}#{anchor}")
    assert not missing


def list_anchors(file: Path) -> set[str]:
    """Return the anchors of the headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(file), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_named_files_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        paths = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]+\.(?:py|yaml|json|npz|md|png|jpg)\b", read(file))
        scripts = [name for name in find_inline_code(read(file)) if re.fullmatch(r"[\w*]+\.py", name)]
        missing += [f"{get_name(file)}: {path}" for path in paths if not file_exists(path)]
        missing += [f"{get_name(file)}: {name}" for name in scripts if not file_exists(f"**/{name}")]
    assert not missing


def file_exists(pattern: str) -> bool:
    return bool(PLACEHOLDER.search(pattern)) or any(ROOT.glob(pattern))


def test_named_python_objects_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        for name in find_inline_code(read(file)):
            if re.fullmatch(r"(?:unified_seg|toyscapes)(?:\.\w+)+", name) and not can_import(name):
                missing.append(f"{get_name(file)}: {name}")
    assert not missing


def can_import(name: str) -> bool:
    """Return whether a dotted name is a module or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute) or bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return False


def test_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", read(ROOT / "Makefile"), flags=re.MULTILINE)
    missing = []
    for file in DOCUMENTS:
        code = [*find_inline_code(read(file)), *"\n".join(find_code_blocks(read(file), "bash")).splitlines()]
        missing += [
            f"{get_name(file)}: {line}" for line in code if (m := re.match(r"make (\w+)", line)) and m[1] not in targets
        ]
    assert not missing


def test_config_keys_exist() -> None:
    endings = list_key_endings(get_config()) | {"RESULT"}  # of a stage
    endings |= REMOVED_KEYS.keys()  # in tables of published results
    endings |= set(re.findall(r"\b[A-Z_]{4,}\b", read(ROOT / "unified_seg/data/datasets/custom.py")))
    missing = []
    for file in DOCUMENTS:
        text = read(file)
        code = " ".join([*find_inline_code(text), *find_code_blocks(text, "bash")])
        keys = {*KEY.findall(code), *find_table_keys(text)}
        keys |= {key for block in find_code_blocks(text, "yaml") for key in find_yaml_keys(block)}
        keys = {re.sub(r"^STAGES\.[a-z_]+\.", "", key).removeprefix(".") for key in keys}
        missing += [f"{get_name(file)}: {key}" for key in sorted(keys - endings)]
    assert not missing


def list_key_endings(cfg: CfgNode) -> set[str]:
    """Return every key and its endings, which tables use: MODEL.SEM_SEG_HEAD.NAME, SEM_SEG_HEAD.NAME, NAME."""
    endings = set()
    for key in walk_keys(cfg):
        parts = key.split(".")
        endings |= {".".join(parts[i:]) for i in range(len(parts))}
    return endings


def walk_keys(node: dict, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from walk_keys(value, f"{prefix}{key}.")


def find_table_keys(text: str) -> Iterator[str]:
    """Yield the keys in the first column of tables with the heading "key"."""
    for rows in re.findall(r"^\| key [^\n]*\n\|[ -|]*\n((?:\|[^\n]*\n)+)", text, flags=re.MULTILINE):
        for row in rows.splitlines():
            yield from re.findall(r"`(\.?[A-Z][A-Z0-9_.]*)`", row.split("|")[1])


def find_yaml_keys(block: str) -> Iterator[str]:
    """Yield the config keys of a code block; a list, such as one of classes, has none."""
    content = yaml.safe_load(block)
    if isinstance(content, dict):
        yield from (key for key in walk_keys(content) if not re.fullmatch(r"_BASE_|STAGES(\.[a-z_]+)?", key))


def test_options_of_commands_exist() -> None:
    missing = []
    for file in DOCUMENTS:
        for script, command, options in find_commands(read(file)):
            known = read_help(script, command)
            missing += [f"{get_name(file)}: {script} {option}" for option in options if option not in known]
    assert not missing


def test_options_in_prose_exist() -> None:
    known = set().union(*(read_help(*command) for command in find_all_commands()))
    missing = []
    for file in DOCUMENTS:
        named = [code.split()[0] for code in find_inline_code(read(file)) if code.startswith("--")]
        missing += [f"{get_name(file)}: {option}" for option in named if option not in known]
    assert not missing


def find_commands(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield script or `unified-seg <name>`, subcommand or "", and options of each command in code blocks and tables."""
    lines = "\n".join([*find_code_blocks(text, "bash"), *find_inline_code(text)]).replace("\\\n", " ").splitlines()
    for line in lines:
        if match := re.match(rf"(?:python3? )?({SCRIPT})(?: ([a-z][\w-]*)(?= |$))?(.*)", line):
            script, command, rest = match.groups()
            yield script, command or "", re.findall(r"(?<= )--[a-z][a-z-]*", f" {rest}")


SCRIPT = r"(?:tools|projects|datasets)/[\w/]+\.py|unified-seg [a-z][a-z-]*"


def find_all_commands() -> set[tuple[str, str]]:
    named = {(script, command) for file in DOCUMENTS for script, command, _ in find_commands(read(file))}
    scripts = {(get_name(tool), "") for tool in ROOT.glob("tools/*.py")}
    return named | scripts | {(f"unified-seg {name}", "") for name in COMMANDS}


@functools.cache
def read_help(script: str, command: str) -> frozenset[str]:
    """Return the options that --help of a script, or of its subcommand, prints."""
    before, path, modules = sys.argv, list(sys.path), set(sys.modules)
    sys.argv, printed = [script, *([command] if command else []), "--help"], io.StringIO()
    sys.path.insert(0, str((ROOT / script).parent))
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            if script.startswith("unified-seg "):
                run_unified_seg([script.split()[1], *sys.argv[1:]])
            else:
                runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before, path
        for name in set(sys.modules) - modules:
            # Other scripts have modules of the same names; those of tools/benchmarks are imported once.
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == (ROOT / script).parent:
                del sys.modules[name]
    return frozenset(re.findall(r"--[a-z][a-z-]*", printed.getvalue()))


def test_imports_in_python_blocks_work() -> None:
    for file in DOCUMENTS:
        for block in find_code_blocks(read(file), "python"):
            imports = [line for line in block.splitlines() if re.match(r"(from|import) ", line)]
            exec("\n".join(imports), {})


@pytest.fixture
def demo(
    tiny_config: CfgNode, forget_datasets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The current folder has what the documents name: the config and the weights of the demo, and a picture."""
    config, weights = tmp_path / "configs/toyscapes/unified_demo.yaml", tmp_path / "output/demo/model_final.pth"
    config.parent.mkdir(parents=True)
    config.write_text(tiny_config.dump())
    cfg = resolve_config(tiny_config)
    write_checkpoint(weights, {"model": random_state(cfg), "trainer": describe_training(cfg)})
    street = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "street.png"), street)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    plt.close("all")


def test_program_in_readme_runs(demo: Path) -> None:
    (program,) = find_code_blocks(read(ROOT / "README.md"), "python")
    exec(program, {})
    assert cv2.imread("drawn.png").shape[1] >= 128


def test_blocks_of_the_page_on_python_run_one_after_another(demo: Path) -> None:
    text, _, _ = read(ROOT / "docs/python.md").partition("<!-- not run")
    names: dict[str, Any] = {}
    for block in find_code_blocks(text, "python"):
        exec(block, names)
    assert names["masks"].shape[1:] == (64, 128) and sum(names["shares"].values()) == pytest.approx(1)
    assert (demo / "labels.png").is_file()


def test_cells_of_the_notebook_run_one_after_another(demo: Path) -> None:
    notebook = json.loads(read(ROOT / "docs/python.ipynb"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            exec("".join(cell["source"]), names)
        else:
            assert cell["cell_type"] == "markdown" and not {"outputs", "execution_count"} & cell.keys()
    assert (demo / "predicted/panoptic.json").is_file()
