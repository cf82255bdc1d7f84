"""Semantic heads; importing registers them."""

from unified_seg.heads.asp_refinement import ASPRefinementHead
from unified_seg.heads.base import SemanticHead, SemanticPrediction
from unified_seg.heads.build import build_semantic_head, registered_heads
from unified_seg.heads.psp import PSPHead
from unified_seg.heads.pyramidal_output import PyramidalOutputHead

__all__ = [
    "ASPRefinementHead",
    "PSPHead",
    "PyramidalOutputHead",
    "SemanticHead",
    "SemanticPrediction",
    "build_semantic_head",
    "registered_heads",
]
