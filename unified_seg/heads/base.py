"""The contract of a semantic head: what it must say, and what it gets for free.

N = images, K = classes, (h, w) = the map at the head's own stride, (H, W) = the padded input.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.pixel_loss import PixelLoss
from unified_seg.ops.losses import mean_cross_entropy
from unified_seg.ops.resampling import upsample_to

Features = dict[str, Tensor]
Losses = dict[str, Tensor]


@dataclass
class SemanticPrediction:
    """What a head knows about a batch.

    Attributes:
        logits: (N, K, h, w) at the head's own stride, not upsampled.
        context: (N, C', h', w'), the high-level feature (ASP's coarsest level, the output of PSP or DeepLab).
        auxiliary: further maps by name, for the head's own losses and for pictures.
        make_feature: computes `feature`, which is large and seldom asked for; None if there is no such thing.
        base: of a wrapper, what the head inside says.
    """

    logits: Tensor
    context: Tensor | None = None
    auxiliary: Features = field(default_factory=dict)
    make_feature: Callable[[], Tensor] | None = None
    base: "SemanticPrediction | None" = None

    @cached_property
    def feature(self) -> Tensor | None:
        """(N, C, h, w), the fine feature from which the classifier reads."""
        return None if self.make_feature is None else self.make_feature()


class SemanticHead(nn.Module):
    """Base of the semantic heads.

    A head implements `predict` and, where cross-entropy on its logits is not all, `losses`. `forward` keeps
    Detectron2's contract on top of the two, so a head also runs inside its PanopticFPN and SemanticSegmentor.

    Args:
        num_classes: K.
        ignore_value: the label of pixels that no loss looks at.
        common_stride: input pixels per pixel of the logits.
        loss_weight: multiplies every term of `losses`.

    Attributes:
        size_divisibility: the height and width of the padded input must be multiples of it.
        pixel_loss: what `losses` compares logits with targets by; cross-entropy, where `build_semantic_head` does not
            put another.
    """

    #: A head that looks at the input asks for the feature "image"; only UnifiedSegmentor gives it.
    needs_image: bool = False
    #: A head that must know the border that pads an image asks for the feature "valid"; UnifiedSegmentor gives it, and
    #: elsewhere the border counts as image.
    needs_valid: bool = False
    #: Whether `losses` compares the head's own logits with targets; a head around another leaves it to that head.
    compares_logits: bool = True

    def __init__(self, *, num_classes: int, ignore_value: int, common_stride: int, loss_weight: float = 1.0):
        super().__init__()
        self.num_classes = num_classes
        self.ignore_value = ignore_value
        self.common_stride = common_stride
        self.size_divisibility = common_stride
        self.loss_weight = loss_weight
        self.pixel_loss: PixelLoss = mean_cross_entropy

    def predict(self, features: Features) -> SemanticPrediction:
        """The prediction for a batch; the same in training and in inference.

        Args:
            features: backbone maps by name, (N, C_i, H / s_i, W / s_i); and "image", the normalized padded input
                (N, 3, H, W), when `needs_image`; and "valid", (N, 1, H, W) bool, when `needs_valid`.
        """
        raise NotImplementedError

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Weighted loss terms, each named `loss_*`.

        Args:
            prediction: of `predict`.
            targets: (N, H, W) int64, semantic ids or `ignore_value`.
        """
        logits = upsample_to(prediction.logits.float(), like=targets)
        loss = self.pixel_loss(logits, targets, self.ignore_value)
        return {"loss_sem_seg": loss * self.loss_weight}

    def describe(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        """Maps that say how the answer came about, by name, for pictures and analysis; most heads have none.

        UnifiedSegmentor gives them as `semantic_maps` of each image, so they should be small and cheap.

        Returns:
            (N, H / s, W / s) each, of any type and with any stride s.
        """
        return {}

    def training_order(self) -> list[str]:
        """Paths of the modules, within the head, in the order in which they must be trained; "" is the head itself.

        A module that learns from what another says comes after it: a wrapper lists those of the head inside, each as
        `base.<path>`, and then its own.
        """
        return [""]

    def logit_maps(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        """Logits beside those of the answer, by name, for pictures and analysis; most heads have none.

        UnifiedSegmentor gives them as `semantic_logit_maps` of each image, to be read at any size.

        Returns:
            (N, C, H / s, W / s) each, with any number of channels C and any stride s.
        """
        return {}

    def upsample(self, logits: Tensor) -> Tensor:
        """(N, K, h, w) -> (N, K, h * stride, w * stride), bilinear, in float32."""
        return F.interpolate(logits.float(), scale_factor=self.common_stride, mode="bilinear", align_corners=False)

    def forward(self, features: Features, targets: Tensor | None = None) -> tuple[Tensor | None, Losses]:
        """Detectron2's contract: (None, losses) in training, (logits at the input's size, {}) in inference."""
        if self.needs_image and "image" not in features:
            raise ValueError(
                f"{type(self).__name__} looks at the input image, which only UnifiedSegmentor passes to its heads; "
                "set MODEL.META_ARCHITECTURE to UnifiedSegmentor"
            )
        prediction = self.predict(features)
        if self.training:
            if targets is None:
                raise ValueError("a semantic head needs targets in training")
            return None, self.losses(prediction, targets)
        return self.upsample(prediction.logits), {}


def common_arguments(cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
    """What every head of this project reads of MODEL.SEM_SEG_HEAD, as arguments; `input_shape` of IN_FEATURES alone."""
    head = cfg.MODEL.SEM_SEG_HEAD
    return {
        "input_shape": {name: shape for name, shape in input_shape.items() if name in head.IN_FEATURES},
        "num_classes": head.NUM_CLASSES,
        "ignore_value": head.IGNORE_VALUE,
        "common_stride": head.COMMON_STRIDE,
        "loss_weight": head.LOSS_WEIGHT,
        "conv_dim": head.CONVS_DIM,
        "norm": head.NORM,
    }


def sort_levels(input_shape: dict[str, ShapeSpec], common_stride: int) -> list[tuple[str, ShapeSpec]]:
    """Names and shapes of a head's features, from fine to coarse; of one stride, the wider is later.

    Raises:
        ValueError: there is none, or the finest has another stride than the head's logits.
    """
    if not input_shape:
        raise ValueError("a semantic head needs a feature: MODEL.SEM_SEG_HEAD.IN_FEATURES is empty")
    levels = sorted(input_shape.items(), key=lambda item: (item[1].stride, item[1].channels))
    finest = levels[0][1].stride
    if finest != common_stride:
        raise ValueError(
            f"the finest feature has stride {finest}, common_stride is {common_stride}: set "
            f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE to {finest}"
        )
    return levels
