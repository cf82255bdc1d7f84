"""The semantic head of Chen et al., Searching for Efficient Multi-Scale Architectures (2018)."""

from functools import partial
from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

from unified_seg.heads.coarse_context import CoarseContextHead
from unified_seg.heads.dense_prediction_cell.cell import DensePredictionCell
from unified_seg.heads.dense_prediction_cell.keys import add_keys
from unified_seg.heads.options import HeadOptions


@SEM_SEG_HEADS_REGISTRY.register()
class DPCHead(CoarseContextHead):
    """A dense prediction cell on the coarsest level, and a 1x1 convolution.

    With a low-level feature beside the coarsest (res2 and res5) it is DeepLabv3+ with the cell in place of its atrous
    pyramid; the finer level has as many channels here as the coarse one.

    Args:
        options: common to all heads.
        branch_dim: width of the cell's five branches.
        dropout: see CoarseContextHead.

    Raises:
        ValueError: as CoarseContextHead.
    """

    config_node: ClassVar[str] = "DPC"

    @configurable
    def __init__(self, options: HeadOptions, *, branch_dim: int = 256, dropout: float = 0.1):
        if branch_dim < 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.DPC.BRANCH_DIM must be 1 or more, got {branch_dim}")
        make_cell = partial(DensePredictionCell, branch_dim=branch_dim, norm=options.norm)
        super().__init__(options, make_cell, kernel_size=1, dropout=dropout)

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        dpc = cfg.MODEL.SEM_SEG_HEAD.DPC
        options = HeadOptions.from_config(cfg, input_shape)
        return {"options": options, "branch_dim": dpc.BRANCH_DIM, "dropout": dpc.DROPOUT}
