"""The script of projects/specialize_and_fuse, on the tiny data set and small models with random weights."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from detectron2.config import CfgNode
from tiny_predictors import make_semantic, write_weights

from unified_seg.training.run import run

SCRIPT = Path(__file__).parents[2] / "projects" / "specialize_and_fuse" / "compare_by_level.py"


@pytest.fixture(scope="module")
def compare_by_level(load_script) -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture
def pyramidal_config(tiny_config: CfgNode) -> CfgNode:
    cfg = make_semantic(tiny_config)
    cfg.MODEL.SEM_SEG_HEAD.NAME = "PyramidalOutputHead"
    # Random weights are never sure: each level gets some cells.
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID.THRESHOLD = 0.5
    return cfg


def write(cfg: CfgNode, folder: Path) -> Path:
    folder.mkdir()
    return write_weights(cfg, folder)


def read_table(text: str) -> dict[str, list[float]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: [float(cell) for cell in row[1:]] for row in rows[2:]}


def test_shares_and_scores_are_those_of_the_evaluation(
    compare_by_level: ModuleType, pyramidal_config: CfgNode, tmp_path: Path
) -> None:
    cfg = pyramidal_config
    pyramidal = write(cfg, tmp_path / "pyramidal")
    cfg.MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT = "single"
    single = write(cfg, tmp_path / "single")
    readme = tmp_path / "README.md"
    readme.write_text("Before\n<!-- outputs-by-level:begin -->\n<!-- outputs-by-level:end -->\nAfter\n")
    dataset = cfg.DATASETS.TEST[0]
    options = ["--dataset", dataset, "--into", str(readme)]
    compare_by_level.main(["--single", str(single), "--pyramidal", str(pyramidal), *options])
    text = readme.read_text()
    assert text.startswith("Before\n") and text.endswith("After\n") and dataset in text
    table = read_table(text)
    assert len([row for row in table.values() if row[0] > 0]) > 2
    for column, output, weights in ((3, "single", single), (4, "pyramidal", pyramidal)):
        cfg.MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT, cfg.MODEL.WEIGHTS = output, str(weights)
        cfg.OUTPUT_DIR = str(tmp_path / output)
        config = tmp_path / f"{output}.yaml"
        config.write_text(cfg.dump())
        run(["--config-file", str(config), "--eval-only"])
        results = json.loads((tmp_path / output / "inference" / "results.json").read_text())["results"]
        scores = results.get(dataset, results)
        assert table["all"][column] == pytest.approx(scores["sem_seg"]["mIoU"], abs=0.006)
    for stride in cfg.MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES:
        assert table[f"of stride {stride}"][0] == pytest.approx(scores["levels"][f"share_{stride}"], abs=0.006)
    shares = np.array([table[f"of stride {stride}"] for stride in cfg.MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES])
    # The accuracy of all is that of the levels together.
    assert (shares[:, 0] @ shares[:, 1:3] / 100).tolist() == pytest.approx(table["all"][1:3], abs=0.02)


def test_a_model_without_levels_is_an_error(
    compare_by_level: ModuleType, pyramidal_config: CfgNode, tmp_path: Path
) -> None:
    pyramidal_config.MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT = "single"
    single = str(write(pyramidal_config, tmp_path / "single"))
    options = ["--dataset", pyramidal_config.DATASETS.TEST[0]]
    with pytest.raises(SystemExit, match="--pyramidal: its outputs lack levels"):
        compare_by_level.main(["--single", single, "--pyramidal", single, *options])
