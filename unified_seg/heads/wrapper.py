"""What heads around another have in common."""

from typing import Any, ClassVar

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor

from unified_seg.heads.base import Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.base_head import build_base, learns
from unified_seg.heads.hidden_name import hide_name


class WrapperHead(SemanticHead):
    """A head around another, to whose losses, maps and parts it adds its own.

    The weights of the head inside have the names that they have without the wrapper.

    Args:
        base: the head inside.
        common_stride: input pixels per pixel of the wrapper's logits.
        loss_weight: factor of the wrapper's own losses; `base` has its own.
    """

    #: The wrapper's own node below MODEL.SEM_SEG_HEAD, for its errors; its key BASE names the head inside.
    config_node: ClassVar[str]
    #: The wrapper's own modules, in the order in which they must be trained.
    own_parts: ClassVar[tuple[str, ...]]
    compares_logits = False

    def __init__(self, base: SemanticHead, *, common_stride: int, loss_weight: float):
        super().__init__(
            num_classes=base.num_classes,
            ignore_value=base.ignore_value,
            common_stride=common_stride,
            loss_weight=loss_weight,
        )
        self.size_divisibility = base.size_divisibility
        self.needs_image = self.needs_image or base.needs_image
        self.needs_valid = self.needs_valid or base.needs_valid
        self.base = base
        hide_name(self, "base")

    @classmethod
    def common_arguments(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """What every wrapper takes of a config; raises ValueError as `build_base`."""
        return {
            "base": build_base(cfg, input_shape, cls.config_node),
            "input_shape": input_shape,
            "loss_weight": cfg.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT,
        }

    @classmethod
    def check(cls, holds: bool, key: str, fault: str) -> None:
        """Raises ValueError with the key and its fault, where that does not hold."""
        if not holds:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.{cls.config_node}.{key}: {fault}")

    def training_order(self) -> list[str]:
        return [*(f"base.{part}".rstrip(".") for part in self.base.training_order()), *self.own_parts]

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Those of the head inside, where it learns."""
        assert prediction.base is not None
        # A wrapper's logits may be without a gradient while a part of it learns: it knows that itself.
        if isinstance(self.base, WrapperHead) or learns(prediction.base.logits):
            return dict(self.base.losses(prediction.base, targets))
        return {}

    def logit_maps(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        assert prediction.base is not None
        return dict(self.base.logit_maps(prediction.base))

    def describe(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        assert prediction.base is not None
        return self.base.describe(prediction.base)
