"""Both wrapper heads around a base head, trained in stages."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from torch import Tensor

from unified_seg.training.run import run

pytestmark = pytest.mark.end_to_end

OWN_PARTS = ["subnets", "error_branch", "detail_branch"]


def make_stage(name: str, part: str = "", **head: object) -> CfgNode:
    solver = {"TRAIN_PARTS": [f"sem_seg_head.{part}"]} if part else {}
    return CfgNode({"MODEL": {"SEM_SEG_HEAD": {"NAME": name, **head}}, "SOLVER": solver})


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the final weights, with names as if there were no wrapper."""
    weights = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    return {name.replace("base.", ""): value for name, value in weights.items()}


def test_each_stage_changes_only_its_part(correcting_config: CfgNode) -> None:
    """To the last bit, running statistics and counts of batches included, with an evaluation within each stage."""
    cfg, head = correcting_config, correcting_config.MODEL.SEM_SEG_HEAD
    base, head.ERROR_CORRECTION.BASE = head.ERROR_CORRECTION.BASE, "ConfusionGroupHead"
    head.CONFUSION_GROUPS.BASE = base
    head.CONFUSION_GROUPS.GROUPS, head.CONFUSION_GROUPS.DIM = [["car", "person"], ["sky", "building"]], 16
    head.ERROR_CORRECTION.THRESHOLD = 0.3  # below the probabilities of an untrained error branch
    cfg.SOLVER.STAGES = ["base", "groups", "error", "detail"]
    cfg.STAGES.base = make_stage(base)
    cfg.STAGES.groups = make_stage("ConfusionGroupHead", "subnets")
    cfg.STAGES.error = make_stage("ErrorCorrectionHead", "error_branch", ERROR_CORRECTION=CfgNode({"OUTPUT": "base"}))
    cfg.STAGES.detail = make_stage("ErrorCorrectionHead", "detail_branch")
    cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD = 2, 1
    cfg.DATASETS.CHECK_LABELS = False
    file = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    file.write_text(cfg.dump())
    run(["--config-file", str(file)])

    stages = [read_weights(Path(cfg.OUTPUT_DIR) / name) for name in ("base", "groups", "error", "")]
    assert any("running_mean" in name for name in stages[0])
    for (before, after), part in zip(pairwise(stages), OWN_PARTS, strict=True):
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        added = after.keys() - before.keys()
        assert all(name.startswith(f"sem_seg_head.{part}.") for name in changed)
        # The untrained detail branch is added with the error branch.
        assert (changed or added) and {name.split(".")[1] for name in added} <= {part, "detail_branch"}
    assert {name.split(".")[1] for name in stages[-1].keys() - stages[0].keys()} == set(OWN_PARTS)
    # Biases are initialized to 0.
    for name in ("subnets.0", "subnets.1", "error_branch", "detail_branch"):
        assert stages[-1][f"sem_seg_head.{name}.classifier.bias"].any()
