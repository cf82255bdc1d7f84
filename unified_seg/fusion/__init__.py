"""Panoptic fusions; importing registers them."""

from unified_seg.fusion.base import (
    PANOPTIC_FUSION_REGISTRY,
    FusionResult,
    PanopticFusion,
    Probabilities,
    build_panoptic_fusion,
)
from unified_seg.fusion.registered import EvidenceFusion, ScoreOrderFusion, SemanticGuidedFusion

__all__ = [
    "PANOPTIC_FUSION_REGISTRY",
    "EvidenceFusion",
    "FusionResult",
    "PanopticFusion",
    "Probabilities",
    "ScoreOrderFusion",
    "SemanticGuidedFusion",
    "build_panoptic_fusion",
]
