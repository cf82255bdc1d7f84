"""Panoptic fusions; importing registers them."""

from unified_seg.fusion.base import (
    PANOPTIC_FUSION_REGISTRY,
    FusionResult,
    PanopticFusion,
    build_panoptic_fusion,
)
from unified_seg.fusion.score_order import ScoreOrderFusion

__all__ = [
    "PANOPTIC_FUSION_REGISTRY",
    "FusionResult",
    "PanopticFusion",
    "ScoreOrderFusion",
    "build_panoptic_fusion",
]
