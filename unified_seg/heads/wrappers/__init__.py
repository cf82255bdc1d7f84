"""Heads around other heads; importing registers them."""

from unified_seg.heads.wrappers.confusion_groups import ConfusionGroupHead
from unified_seg.heads.wrappers.error_correction import ErrorCorrectionHead

__all__ = ["ConfusionGroupHead", "ErrorCorrectionHead"]
