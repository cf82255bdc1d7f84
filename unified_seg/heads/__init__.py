"""Semantic heads; importing registers them."""

from unified_seg.heads.asp_refinement import ASPRefinementHead
from unified_seg.heads.base import SemanticHead, SemanticPrediction
from unified_seg.heads.build import build_semantic_head, registered_heads

__all__ = ["ASPRefinementHead", "SemanticHead", "SemanticPrediction", "build_semantic_head", "registered_heads"]
