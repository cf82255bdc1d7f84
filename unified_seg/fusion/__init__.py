"""Panoptic fusions; importing registers them."""

from unified_seg.fusion.base import (
    PANOPTIC_FUSION_REGISTRY,
    FusionResult,
    PanopticFusion,
    build_panoptic_fusion,
)
from unified_seg.fusion.registered import ScoreOrderFusion, SemanticGuidedFusion

__all__ = [
    "PANOPTIC_FUSION_REGISTRY",
    "FusionResult",
    "PanopticFusion",
    "ScoreOrderFusion",
    "SemanticGuidedFusion",
    "build_panoptic_fusion",
]
