"""Chen et al., Searching for Efficient Multi-Scale Architectures for Dense Image Prediction."""

from unified_seg.heads.dense_prediction_cell.head import DPCHead

__all__ = ["DPCHead"]
