"""The command lines of the tools: options that several have mean the same in each, and they are parsed at once."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from detectron2.engine import default_argument_parser

from toyscapes import PRESETS
from toyscapes.writing import DEFAULT_COUNTS
from unified_seg.config import CfgNode, get_config
from unified_seg.data.conversion import instances_to_panoptic
from unified_seg.data.io import open_image, semantic_labels
from unified_seg_cli import make_toyscapes, parser
from unified_seg_cli.commands import convert_dataset, fuse_predictions
from unified_seg_cli.main import COMMANDS
from unified_seg_cli.train_net import parse_args

TOOLS = Path(__file__).parents[2] / "tools"

REQUIRED = {
    "analyze_model": "--tasks flop --config-file c.yaml",
    "check_dataset": "--config-file c.yaml --output out",
    "compare_models": "--before a.yaml a.pth --after b.yaml b.pth --dataset d --output out",
    "demo": "--config-file c.yaml --dataset d --output out",
    "find_lr": "--config-file c.yaml --output out",
    "rank_by_error": "--config-file c.yaml --dataset d --output out",
    "run_demo": "--output out",
    "visualize_data": "--source annotation --config-file c.yaml --output out",
}
#: Within unified_seg_cli, by the names of the tools.
MODULES = {command.module.rpartition(".")[2]: command.module for command in COMMANDS.values()}
OVERRIDES = ["SEED", "-1", "SOLVER.BASE_LR", "1e-3"]


def read(name: str, words: list[str]):
    return importlib.import_module(f"unified_seg_cli.{MODULES[name]}").parse_args(words)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("marker", [[], ["--opts"]])
def test_overrides_are_read_with_and_without_opts(name, marker):
    words = REQUIRED[name].split()
    assert read(name, [*words, *marker, *OVERRIDES]).opts == OVERRIDES
    assert read(name, words).opts == []


@pytest.mark.parametrize("marker", [[], ["--opts"]])
def test_training_reads_overrides_with_and_without_opts(marker):
    assert parse_args(["--config-file", "c.yaml", *marker, *OVERRIDES]).opts == OVERRIDES


@pytest.mark.parametrize(
    "command", ["convert_dataset labelme --input a --output b", "check_dataset --dataset a --output b"]
)
@pytest.mark.parametrize(("given", "workers"), [("0", 1), ("1", 1), ("3", 3)])
def test_zero_workers_mean_this_process(command, given, workers):
    name, *words = command.split()
    assert read(name, [*words, "--workers", given]).workers == workers


@pytest.mark.parametrize(
    "words", ["", "--config-file a.yaml --resume", "--eval-only --num-gpus 2 MODEL.WEIGHTS x.pth SEED -1"]
)
def test_training_has_the_options_of_detectron2(words):
    expected = vars(default_argument_parser().parse_args(words.split()))
    found = vars(parse_args(words.split()))
    assert {key: value for key, value in found.items() if key not in ("more_opts", "set_aside")} == expected


def test_what_options_repeat_of_the_library_is_the_same():
    assert convert_dataset.ORDERS == instances_to_panoptic.ORDERS
    defaults = get_config()
    sections = {key for key, value in defaults.items() if isinstance(value, CfgNode)}
    assert (set(parser.CONFIG_SECTIONS), set(parser.SINGLE_KEYS)) == (sections, set(defaults) - sections)
    assert parser.DEFAULT_MAX_PIXELS == open_image.DEFAULT_MAX_PIXELS
    assert fuse_predictions.ID_KINDS == semantic_labels.ID_KINDS
    assert sorted(make_toyscapes.PRESETS) == sorted(PRESETS)
    assert make_toyscapes.DEFAULT_COUNTS == DEFAULT_COUNTS


def test_no_tool_imports_pytorch_before_it_has_read_its_options():
    """Each tool prints its help in one process; the modules that this takes are none that take seconds."""
    program = f"""
import contextlib, io, runpy, sys
from pathlib import Path

for path in sorted(Path({str(TOOLS)!r}).glob("*.py")):
    sys.argv = [str(path), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    assert "usage: " + path.name in printed.getvalue(), path
    slow = {{"torch", "detectron2", "numba", "scipy", "cv2", "unified_seg"}} & set(sys.modules)
    assert not slow, (path, slow)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
