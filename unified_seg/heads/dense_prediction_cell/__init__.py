"""Chen et al., Searching for Efficient Multi-Scale Architectures (2018): the dense prediction cell."""

from unified_seg.heads.dense_prediction_cell.head import DPCHead

__all__ = ["DPCHead"]
