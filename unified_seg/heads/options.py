"""The options that all semantic heads of this project share."""

from dataclasses import dataclass
from typing import Any, Self

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec


@dataclass(frozen=True)
class HeadOptions:
    """The options that all heads share.

    Attributes:
        input_shape: channels and stride of each feature that the head reads.
        num_classes: K.
        ignore_value: label of pixels that no loss counts.
        common_stride: input pixels per pixel of the logits; the stride of the finest feature.
        loss_weight: factor of all losses of the head.
        conv_dim: channels of the head's levels.
        norm: name of a norm for Detectron2's `get_norm`.
    """

    input_shape: dict[str, ShapeSpec]
    num_classes: int
    ignore_value: int = 255
    common_stride: int = 4
    loss_weight: float = 1.0
    conv_dim: int = 128
    norm: str = "GN"

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> Self:
        """Read MODEL.SEM_SEG_HEAD; of the backbone's features only IN_FEATURES are kept."""
        head = cfg.MODEL.SEM_SEG_HEAD
        return cls(
            input_shape={name: shape for name, shape in input_shape.items() if name in head.IN_FEATURES},
            num_classes=head.NUM_CLASSES,
            ignore_value=head.IGNORE_VALUE,
            common_stride=head.COMMON_STRIDE,
            loss_weight=head.LOSS_WEIGHT,
            conv_dim=head.CONVS_DIM,
            norm=head.NORM,
        )

    @property
    def contract(self) -> dict[str, Any]:
        """The arguments of `SemanticHead`."""
        names = ("num_classes", "ignore_value", "common_stride", "loss_weight")
        return {name: getattr(self, name) for name in names}

    def sorted_levels(self) -> list[tuple[str, ShapeSpec]]:
        """Return names and shapes of the features from fine to coarse; of one stride, the wider comes later.

        Raises:
            ValueError: there is no feature, or the finest has another stride than the logits.
        """
        if not self.input_shape:
            raise ValueError("MODEL.SEM_SEG_HEAD.IN_FEATURES is empty: a semantic head needs at least one feature")
        levels = sorted(self.input_shape.items(), key=lambda item: (item[1].stride, item[1].channels))
        finest = levels[0][1].stride
        if finest != self.common_stride:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE must be the stride of the finest feature, {finest}, got "
                f"{self.common_stride}"
            )
        return levels


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError if the value of a key below MODEL.SEM_SEG_HEAD is not one of the choices."""
    if value not in choices:
        raise ValueError(f"MODEL.SEM_SEG_HEAD.{key} must be one of {', '.join(choices)}, got {value!r}")


def stride_of(shape: ShapeSpec) -> int:
    """Return the input pixels per pixel of a feature, which every backbone declares."""
    assert shape.stride is not None
    return shape.stride
