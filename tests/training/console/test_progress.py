"""The plan and the progress of a training outside of a terminal."""

import logging
import re
from pathlib import Path

import pytest

from unified_seg.config import CfgNode, dump_config
from unified_seg.training.console.log import memory
from unified_seg.training.console.progress import format_seconds
from unified_seg.training.run import run


def train(cfg: CfgNode, *overrides: str) -> None:
    path = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    path.write_text(dump_config(cfg))
    run(["--config-file", str(path), *overrides])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (5400, "1 h 30 min"), (200_000, "2 d 8 h")],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.end_to_end
def test_run_of_many_iterations_prints_few_lines(tiny_config: CfgNode, capsys: pytest.CaptureFixture[str]) -> None:
    """600 iterations print as many lines: there are ten of the progress, whatever the number."""
    tiny_config.MODEL.PROPOSAL_GENERATOR.NAME = tiny_config.MODEL.ROI_HEADS.NAME = ""
    tiny_config.MODEL.PANOPTIC_FUSION.NAME, tiny_config.MODEL.MASK_ON = "", False
    train(tiny_config, "SOLVER.MAX_ITER", "20", "TEST.EVAL_PERIOD", "10", "TEST.REPORT", "False")
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert len(lines) < 60 and max(map(len, lines)) < 400
    start = next(i for i, line in enumerate(lines) if line.startswith("data "))
    plan = [line.split()[0] for line in lines[start : start + 7]]
    assert plan == ["data", "classes", "model", "weights", "schedule", "machine", "output"]
    found = re.findall(r"^iteration (\d+) of 20: loss [\d.]+, [\d.]+ s each, about .* left$", printed, re.MULTILINE)
    assert found == [str(i) for i in (1, *range(2, 21, 2))]
    # The evaluation in the training, and the last one with the table.
    assert len(re.findall(r"^unified_\w+: mIoU [\d.]+", printed, re.MULTILINE)) == 2
    assert printed.count("mean of all") == 1
    log = (Path(tiny_config.OUTPUT_DIR) / "log.txt").read_text()
    assert "Running with full config" in log and "Model:\n" in log and "iteration 1 of 20" in log


def test_warnings_come_again_before_the_first_step(tiny_config: CfgNode, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("unified_seg").addHandler(memory)
    logging.getLogger("unified_seg.test").warning("of an earlier run")
    capsys.readouterr()
    train(tiny_config, "SOLVER.MAX_ITER", "1", "SOLVER.WARMUP_ITERS", "5", "DATASETS.TEST", "()")
    lines = capsys.readouterr().out.splitlines()
    plan = next(i for i, line in enumerate(lines) if line.startswith("data "))
    first_step = next(i for i, line in enumerate(lines) if line.startswith("iteration "))
    repeated = [line for line in lines[plan:first_step] if line.startswith("WARNING: ")]
    assert repeated and repeated == [line for line in lines[:plan] if line.startswith("WARNING: ")]
    assert any("SOLVER.WARMUP_ITERS" in line for line in repeated)
    assert not any("of an earlier run" in line for line in lines)
