"""A model with random weights in files, as a tool takes it."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from unified_seg.data.resolve import resolve_config


def write_random_model(cfg: CfgNode, folder: Path) -> tuple[Path, Path]:
    """Write config.yaml and model.pth, with the same weights each time; return their paths."""
    torch.manual_seed(0)
    config, weights = folder / "config.yaml", folder / "model.pth"
    config.write_text(cfg.dump())
    torch.save({"model": build_model(resolve_config(cfg)).state_dict()}, weights)
    return config, weights
