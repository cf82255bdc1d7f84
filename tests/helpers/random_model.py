"""A model with random weights in files, as a tool takes it."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor

from unified_seg.checkpoint import write_checkpoint
from unified_seg.config import dump_config
from unified_seg.data.resolve import resolve_config
from unified_seg.inference.training_description import describe_training

_STATES: dict[tuple[str, int], dict[str, Tensor]] = {}


def random_state(cfg: CfgNode, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights of the model of a config, the same for a seed; a model is built once in a process."""
    resolved = resolve_config(cfg)
    key = str(resolved.MODEL), seed
    if key not in _STATES:
        torch.manual_seed(seed)
        _STATES[key] = build_model(resolved).state_dict()
    return _STATES[key]


def write_random_model(cfg: CfgNode, folder: Path) -> tuple[Path, Path]:
    """Write config.yaml and model.pth, with the same weights each time; return their paths."""
    config, weights = folder / "config.yaml", folder / "model.pth"
    config.write_text(dump_config(cfg))
    torch.save({"model": random_state(cfg)}, weights)
    return config, weights


def write_result_of_training(cfg: CfgNode, folder: Path) -> Path:
    """Write a checkpoint with random weights that says of its training what a checkpoint says; return its path."""
    cfg = resolve_config(cfg)
    write_checkpoint(folder / "model_final.pth", {"model": random_state(cfg), "trainer": describe_training(cfg)})
    return folder / "model_final.pth"
