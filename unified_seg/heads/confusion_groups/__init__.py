"""Geng et al., A Network Structure to Explicitly Reduce Confusion Errors in Semantic Segmentation (2018)."""

from unified_seg.heads.confusion_groups.head import ConfusionGroupHead

__all__ = ["ConfusionGroupHead"]
