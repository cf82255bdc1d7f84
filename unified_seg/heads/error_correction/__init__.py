"""Erroneous pixel prediction: error prediction and detail correction of any base head."""

from unified_seg.heads.error_correction.head import ErrorCorrectionHead

__all__ = ["ErrorCorrectionHead"]
