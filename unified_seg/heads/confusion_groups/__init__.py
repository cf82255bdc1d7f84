"""A Network Structure to Explicitly Reduce Confusion Errors: subnets and the confusion-weighted loss."""

from unified_seg.heads.confusion_groups.head import ConfusionGroupHead

__all__ = ["ConfusionGroupHead"]
