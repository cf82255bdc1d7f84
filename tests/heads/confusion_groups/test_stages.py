"""Confusion groups, and error correction around them, trained in their stages."""

from itertools import pairwise
from pathlib import Path

import torch
from detectron2.config import CfgNode

from unified_seg.training.run import run


def stage(name: str, part: str = "", **head: object) -> CfgNode:
    solver = {"TRAIN_PARTS": [f"sem_seg_head.{part}"]} if part else {}
    return CfgNode({"MODEL": {"SEM_SEG_HEAD": {"NAME": name, **head}}, "SOLVER": solver})


def test_each_stage_changes_its_part_and_nothing_else(correcting_config: CfgNode) -> None:
    """To the last bit, with an evaluation in the middle of each stage."""
    cfg, head = correcting_config, correcting_config.MODEL.SEM_SEG_HEAD
    base, head.ERROR_CORRECTION.BASE = head.ERROR_CORRECTION.BASE, "ConfusionGroupHead"
    head.CONFUSION_GROUPS.BASE = base
    head.CONFUSION_GROUPS.GROUPS, head.CONFUSION_GROUPS.DIM = [["car", "person"], ["sky", "building"]], 16
    head.ERROR_CORRECTION.THRESHOLD = 0.3  # an untrained error branch is sure of nothing
    cfg.SOLVER.STAGES = ["base", "groups", "error", "detail"]
    cfg.STAGES.base = stage(base)
    cfg.STAGES.groups = stage("ConfusionGroupHead", "subnets")
    cfg.STAGES.error = stage("ErrorCorrectionHead", "error_branch", ERROR_CORRECTION=CfgNode({"OUTPUT": "base"}))
    cfg.STAGES.detail = stage("ErrorCorrectionHead", "detail_branch")
    cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD = 4, 2
    cfg.DATASETS.CHECK_LABELS = False
    file = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    file.write_text(cfg.dump())
    run(["--config-file", str(file)])

    folders = [Path(cfg.OUTPUT_DIR) / name for name in ("base", "groups", "error", "")]
    weights = [torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in folders]
    parts = ["subnets", "error_branch", "detail_branch"]
    for (before, after), part in zip(pairwise(weights), parts, strict=True):
        changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
        added = after.keys() - before.keys()
        assert all(name.startswith(f"sem_seg_head.{part}.") for name in changed)
        # The detail branch is there, as it was made, from the error branch's stage on.
        assert (changed or added) and {name.split(".")[1] for name in added} <= {part, "detail_branch"}
    # Biases start at 0.
    for name in ("subnets.0", "subnets.1", "error_branch", "detail_branch"):
        assert weights[-1][f"sem_seg_head.{name}.classifier.bias"].any()
    # By the names that they have alone: each is the part's own, below the head.
    names = {name.split(".")[1] for name in weights[-1].keys() - weights[0].keys()}
    assert names == set(parts)
    assert all(f"sem_seg_head.subnets.{number}.classifier.weight" in weights[1] for number in range(2))
