"""tools/check_dataset.py on the hand-drawn data set and a spoilt copy: what is printed and written, and exit codes."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.data.problems import Problem
from unified_seg_cli.commands.check_dataset import main
from unified_seg_files import escape_unprintable

pytestmark = pytest.mark.end_to_end

SPOILT = "unified_test_streets_spoilt"
Check = Callable[..., int]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs the tool in this process; returns its exit code."""

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in [*arguments, "--output", tmp_path / "out", "--workers", 0]])
        return ended.value.code

    return run


@pytest.fixture
def spoilt(tiny_dataset: Any, tmp_path: Path) -> Iterator[Path]:
    """Labels of the ids 77 in images 0 and 1; the folder of the labels."""
    root = tmp_path / "spoilt"
    shutil.copytree(tiny_dataset.root, root)
    folder = root / "gtFine/train/alpha"
    for index in range(2):
        Image.new("L", (128, 64), 77).save(folder / f"alpha_{index:06d}_000019_gtFine_labelTrainIds.png")
    register_cityscapes_like(SPOILT, root, "train")
    yield folder
    DatasetCatalog.remove(SPOILT)
    MetadataCatalog.remove(SPOILT)


def test_errors_are_printed_and_written(
    check: Check, spoilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--dataset", SPOILT, "--show", 1) == 1
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("Label ids without a class: 2 errors")
    file = spoilt / "alpha_000000_000019_gtFine_labelTrainIds.png"
    assert lines[start + 1].startswith(f"  {file}: label id 77 is neither") and lines[start + 1].endswith("[label-id]")
    assert lines[start + 2 : start + 4] == [
        "  and 1 more",
        "  To fix: correct the label, or the classes and ids to ignore.",
    ]
    # All cars are in these two images: their pixels are lost with the labels, the instances are not.
    (car,) = [line.split() for line in lines if line.startswith("car")]
    assert car == ["car", "0.000", "2", "3", "0"]
    assert lines[-1] == f"2 errors in 4 images; see {tmp_path / 'out/index.html'}"
    content = json.loads((tmp_path / "out/problems.json").read_text())
    assert (content["errors"], content["warnings"]) == (2, 0)
    problem = content["problems"][0]
    assert problem.keys() == {"dataset", "kind", "file", "record", "cause", "fix", "severity"}
    assert (problem["dataset"], problem["kind"], problem["file"], problem["severity"]) == (
        SPOILT,
        "label-id",
        str(file),
        "error",
    )


def test_warnings_are_errors_if_strict(
    check: Check, tiny_config: CfgNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(tiny_config.dump())
    # Overrides may stand before other options.
    assert check("--config-file", tmp_path / "config.yaml", "DATASETS.TEST", "()") == 0
    out = capsys.readouterr().out
    assert "Classes that never occur: 13 warnings" in out and "13 warnings in 4 images" in out
    assert check("--config-file", tmp_path / "config.yaml", "--strict") == 1
    content = json.loads((tmp_path / "out/problems.json").read_text())
    assert [entry["name"] for entry in content["datasets"]] == [*tiny_config.DATASETS.TRAIN, *tiny_config.DATASETS.TEST]


WRONG: dict[str, tuple[list[str], str]] = {
    "an unknown data set": (["--dataset", "no_such_set"], "ConfigError: --dataset: unknown data set no_such_set"),
    "a missing config": (["--config-file", "gone.yaml"], "ConfigError: config file gone.yaml"),
    "no data set": ([], "one of the arguments --config-file --dataset is required"),
    "a config and a data set": (["--config-file", "a", "--dataset", "b"], "not allowed with argument"),
    "overrides without a config": (["A", "1", "--dataset", "b"], "KEY VALUE need --config-file"),
    "a negative number": (["--dataset", "b", "--show", "-1"], "argument --show"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_ends_with_status_2(name: str, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG[name]
    assert check(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_an_unwritable_folder_ends_with_status_2(
    check: Check, tiny_dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert check("--dataset", tiny_dataset.val) == 2
    assert "Error: " in capsys.readouterr().err


def test_control_characters_in_names_are_escaped() -> None:
    name = "a\n\x1b[31m\udc80 ü.png"
    assert escape_unprintable(str(Problem("size", name, "it is small"))) == r"a\n\x1b[31m\udc80 ü.png: it is small"
