"""Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018): the semantic head (III.B)."""

from unified_seg.heads.asp_refinement.head import ASPRefinementHead

__all__ = ["ASPRefinementHead"]
