"""The base of wrapper heads, which contain a base head and change or extend its prediction."""

from dataclasses import dataclass
from typing import Any, ClassVar

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor

from unified_seg.heads.base import Losses, SemanticHead, SemanticPrediction, needs_loss
from unified_seg.heads.build import build_semantic_head, semantic_head_names

# Marks the name of a wrapper in the config of its own base head.
_INSIDE = "inside "


@dataclass(kw_only=True)
class WrapperPrediction(SemanticPrediction):
    """The prediction of a wrapper head.

    Attributes:
        base: the prediction of the base head.
    """

    base: SemanticPrediction


class WrapperHead(SemanticHead[WrapperPrediction]):
    """A head that contains a base head, and adds its own losses, maps and parts to those of the base head.

    Weights of the base head alone load into the wrapper, and those of the wrapper into the base head.

    Args:
        base: the base head.
        common_stride: input pixels per pixel of the wrapper's logits.
        loss_weight: factor of the wrapper's own losses; `base` has its own.
    """

    uses_pixel_loss = False
    is_wrapper = True
    #: The wrapper's own modules, in the order in which they must be trained.
    own_parts: ClassVar[tuple[str, ...]]

    def __init__(self, base: SemanticHead, *, common_stride: int, loss_weight: float):
        super().__init__(
            num_classes=base.num_classes,
            ignore_value=base.ignore_value,
            common_stride=common_stride,
            loss_weight=loss_weight,
        )
        self.size_divisibility = base.size_divisibility
        self.context_channels = base.context_channels
        self.feature_channels = base.feature_channels
        self.base = base

    @classmethod
    def base_name(cls, cfg: CfgNode) -> str:
        return cfg.MODEL.SEM_SEG_HEAD[cls.config_node].BASE

    @classmethod
    def common_arguments(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Return the arguments that every wrapper reads from a config; raises ValueError as `build_base_head`."""
        return {
            "base": build_base_head(cfg, input_shape, cls.config_node),
            "loss_weight": cfg.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT,
        }

    @classmethod
    def check(cls, is_valid: bool, key: str, fault: str) -> None:
        """Raise ValueError with the key and its fault if the value of a key is invalid."""
        if not is_valid:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.{cls.config_node}.{key}: {fault}")

    def training_order(self) -> list[str]:
        return [*(f"base.{part}".rstrip(".") for part in self.base.training_order()), *self.own_parts]

    def losses(self, prediction: WrapperPrediction, targets: Tensor) -> Losses:
        """Return the losses of the base head, if it is trained."""
        # A wrapper's logits may have no gradient although a part of it is trained, so that it decides itself.
        if isinstance(self.base, WrapperHead) or needs_loss(prediction.base.logits):
            return dict(self.base.losses(prediction.base, targets))
        return {}

    def logit_maps(self, prediction: WrapperPrediction) -> dict[str, Tensor]:
        """Return the maps of the base head and, if it is declared, the `earlier_prediction`."""
        maps = dict(self.base.logit_maps(prediction.base))
        if self.earlier_prediction is not None:
            maps[self.earlier_prediction.name] = prediction.base.logits
        return maps

    def describe(self, prediction: WrapperPrediction) -> dict[str, Tensor]:
        return self.base.describe(prediction.base)

    def nested_name(self, name: str) -> str:
        first = name.split(".")[0]
        own = self._modules.keys() | self._parameters.keys() | self._buffers.keys()
        return name if first in own - {"base"} else f"base.{self.base.nested_name(name)}"


def build_base_head(cfg: CfgNode, input_shape: dict[str, ShapeSpec], node: str) -> SemanticHead:
    """Build the head that MODEL.SEM_SEG_HEAD.<node>.BASE names; it reads the config as it does alone.

    Raises:
        ValueError: no name, the name of the wrapper itself or of one around it, an unknown name.
    """
    key, name = f"MODEL.SEM_SEG_HEAD.{node}.BASE", cfg.MODEL.SEM_SEG_HEAD[node].BASE
    wrapper = cfg.MODEL.SEM_SEG_HEAD.NAME
    if not name:
        raise ValueError(f"{key} is empty: name the base head of {wrapper}, or leave {wrapper} out")
    if name == wrapper or name.startswith(_INSIDE):
        raise ValueError(f"{key}: {name.removeprefix(_INSIDE)} can't be its own base head")
    if name not in (known := semantic_head_names()):
        raise ValueError(f"{key}: unknown semantic head {name!r}; known: {', '.join(sorted(known))}")
    inner = cfg.clone()
    inner.defrost()
    inner.MODEL.SEM_SEG_HEAD.NAME = name
    # Recognized if a wrapper further inside names this one.
    inner.MODEL.SEM_SEG_HEAD[node].BASE = _INSIDE + wrapper
    return build_semantic_head(inner, input_shape)
