"""Zhao et al., Pyramid Scene Parsing Network (2017): pyramid pooling with an auxiliary loss."""

from unified_seg.heads.psp.head import PSPHead

__all__ = ["PSPHead"]
