"""The semantic head of Chen et al., Searching for Efficient Multi-Scale Architectures for Dense Image Prediction."""

from functools import partial
from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

from unified_seg.heads.base import common_arguments
from unified_seg.heads.coarse_context import CoarseContextHead
from unified_seg.heads.dense_prediction_cell.layers import DensePredictionCell


@SEM_SEG_HEADS_REGISTRY.register()
class DPCHead(CoarseContextHead):
    """A dense prediction cell on the coarsest level, and a 1x1 convolution.

    With a low-level feature beside the coarsest (res2 and res5) it is DeepLabv3+ with the cell in place of its atrous
    pyramid; the finer level has as many channels here as the coarse one.

    Args:
        input_shape, num_classes, ignore_value, common_stride, loss_weight, conv_dim, norm, dropout: as of
            CoarseContextHead.
        branch_dim: width of the cell's five branches.

    Raises:
        ValueError: `common_stride` is not the stride of the finest feature, or a value out of its range.
    """

    config_node: ClassVar[str] = "DPC"

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        ignore_value: int = 255,
        common_stride: int = 4,
        loss_weight: float = 1.0,
        conv_dim: int = 256,
        norm: str = "GN",
        branch_dim: int = 256,
        dropout: float = 0.1,
    ):
        if branch_dim < 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.DPC.BRANCH_DIM must be 1 or more, got {branch_dim}")
        super().__init__(
            input_shape,
            partial(DensePredictionCell, branch_dim=branch_dim, norm=norm),
            kernel_size=1,
            num_classes=num_classes,
            ignore_value=ignore_value,
            common_stride=common_stride,
            loss_weight=loss_weight,
            conv_dim=conv_dim,
            norm=norm,
            dropout=dropout,
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        dpc = cfg.MODEL.SEM_SEG_HEAD.DPC
        return {**common_arguments(cfg, input_shape), "branch_dim": dpc.BRANCH_DIM, "dropout": dpc.DROPOUT}
