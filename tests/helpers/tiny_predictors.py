"""Predictors of tiny models with random weights, and images for them."""

from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from model_parts import without_detector
from random_model import random_state

from unified_seg.checkpoint import write_checkpoint
from unified_seg.data.resolve import resolve_config
from unified_seg.inference import Predictor
from unified_seg.inference.training_description import describe_training


def make_panoptic(cfg: CfgNode, fusion: str = "SemanticGuidedFusion") -> CfgNode:
    """Change a config, in place, to that of a model whose random weights find instances."""
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    cfg.MODEL.PANOPTIC_FUSION.NAME = fusion
    # The scores of an untrained detector are near 1 / (T + 1).
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.05
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 4
    return cfg


def make_semantic(cfg: CfgNode) -> CfgNode:
    """Change a config, in place, to that of a model without a detector."""
    without_detector(cfg)
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    return cfg


def write_weights(cfg: CfgNode, folder: Path) -> Path:
    """Write weights with their config and classes, as a training does."""
    file = folder / "model.pth"
    write_checkpoint(file, {"model": random_state(cfg), "trainer": describe_training(resolve_config(cfg))})
    return file


def make_predictor(cfg: CfgNode, folder: Path) -> tuple[Predictor, CfgNode]:
    """Return the predictor of a config with random weights, and the resolved config."""
    cfg.MODEL.WEIGHTS = str(write_weights(cfg, folder))
    return Predictor(cfg), resolve_config(cfg, for_inference=True)


def draw_images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Return images (H, W, 3) uint8 of coarse noise."""
    draw = np.random.default_rng(0)
    coarse = [draw.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8) for height, width in sizes]
    return [
        each.repeat(8, 0).repeat(8, 1)[:height, :width] for each, (height, width) in zip(coarse, sizes, strict=True)
    ]
