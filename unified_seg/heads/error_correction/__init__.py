"""Gong et al., Erroneous pixel prediction for semantic image segmentation (2022)."""

from unified_seg.heads.error_correction.head import ErrorCorrectionHead

__all__ = ["ErrorCorrectionHead"]
