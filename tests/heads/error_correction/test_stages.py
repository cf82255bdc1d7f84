"""Error prediction and detail correction trained in its stages, with an evaluation in the middle of each."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor

from unified_seg.training.run import run


def train(cfg: CfgNode) -> list[dict[str, Tensor]]:
    """Three stages, as configs/base/error_correction.yaml has them; the weights after each."""
    head = cfg.MODEL.SEM_SEG_HEAD
    cfg.SOLVER.STAGES = ["base", "error", "detail"]
    cfg.STAGES.base = CfgNode({"MODEL": {"SEM_SEG_HEAD": {"NAME": head.ERROR_CORRECTION.BASE}}})
    output = CfgNode({"SEM_SEG_HEAD": {"ERROR_CORRECTION": {"OUTPUT": "base"}}})
    cfg.STAGES.error = CfgNode({"MODEL": output, "SOLVER": {"TRAIN_PARTS": ["sem_seg_head.error_branch"]}})
    cfg.STAGES.detail = CfgNode({"SOLVER": {"TRAIN_PARTS": ["sem_seg_head.detail_branch"]}})
    cfg.SOLVER.MAX_ITER, cfg.TEST.EVAL_PERIOD = 4, 2
    cfg.DATASETS.CHECK_LABELS = False
    head.ERROR_CORRECTION.THRESHOLD = 0.3  # an untrained error branch is sure of nothing
    file = Path(cfg.OUTPUT_DIR).parent / "run.yaml"
    file.write_text(cfg.dump())
    run(["--config-file", str(file)])
    folders = [Path(cfg.OUTPUT_DIR) / name for name in ("base", "error", "")]
    return [torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in folders]


def test_each_stage_changes_its_part_and_nothing_else(correcting_config: CfgNode) -> None:
    """To the last bit: weights, statistics of the backbone's BatchNorms, counts of batches."""
    base, error, detail = train(correcting_config)
    assert base and any("running_mean" in name for name in base)
    assert all(torch.equal(error[name], value) and torch.equal(detail[name], value) for name, value in base.items())
    changed = {name for name in detail if not torch.equal(detail[name], error[name])}
    assert changed == {name for name in detail if name.startswith("sem_seg_head.detail_branch.")}
    branches = ("sem_seg_head.error_branch.", "sem_seg_head.detail_branch.")
    assert {name for name in detail if name not in base} == {name for name in detail if name.startswith(branches)}
