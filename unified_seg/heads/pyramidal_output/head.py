"""The semantic head of Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation."""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction, common_arguments, sort_levels
from unified_seg.heads.pyramidal_output.label_pyramid import (
    POLICIES,
    assign_levels,
    build_label_pyramid,
    check_strides,
    fuse_pyramid,
    label_cells,
    relabel,
)
from unified_seg.heads.pyramidal_output.level_context import CONTEXTS
from unified_seg.heads.pyramidal_output.unity import UnityPyramid
from unified_seg.layers.conv import conv_norm_relu, init_classifier
from unified_seg.layers.level_conv import LevelConv
from unified_seg.ops.losses import mean_binary_cross_entropy
from unified_seg.ops.resampling import winners

OUTPUTS = ("pyramidal", "finest", "single")


@SEM_SEG_HEADS_REGISTRY.register()
class PyramidalOutputHead(SemanticHead):
    """Labels large cells of one class at a coarse level, and only the rest at finer ones.

    A unity pyramid says which cells hold one class, a semantic pyramid labels the cells of every level; the answer for
    a pixel is that of the coarsest of its cells that is one class (3.3). In training a level doesn't learn what a
    coarser one has done (3.2).

    Args:
        input_shape: channels and stride of each feature; they are joined at the finest.
        num_classes: K.
        ignore_value: label of pixels outside the loss.
        common_stride: stride of the logits; must be that of the finest feature and of the finest level.
        loss_weight: factor of the losses.
        conv_dim: D_s, channels of the semantic pyramid.
        norm: a name that Detectron2's `get_norm` knows.
        strides: of the levels, from the coarsest to the finest.
        unity_dim: D_u, channels of the unity pyramid.
        context: "none", "anl", "anl_multi" or "coarse_to_fine" (4.2, Table 6).
        relabelling: which cells are done by coarser ones: a name of POLICIES (3.2, Table 7).
        threshold: tau, 0 to 1: the probability from which on a cell is taken to be one class.
        output: "pyramidal"; "finest" learns the same and answers by the finest level alone (Table 8); "single" is the
            network without the pyramids, to compare with (Table 6).

    Raises:
        ValueError: strides that don't nest or end at another stride than the features, or a value out of its range.
    """

    #: The border that pads an image must not decide what a cell is.
    needs_valid = True

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        ignore_value: int = 255,
        common_stride: int = 4,
        loss_weight: float = 1.0,
        conv_dim: int = 512,
        norm: str = "GN",
        strides: Sequence[int] = (32, 16, 8, 4),
        unity_dim: int = 64,
        context: str = "coarse_to_fine",
        relabelling: str = "true_positives",
        threshold: float = 0.9,
        output: str = "pyramidal",
    ):
        super().__init__(
            num_classes=num_classes, ignore_value=ignore_value, common_stride=common_stride, loss_weight=loss_weight
        )
        try:
            check_strides(strides)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES: {error}") from None
        if strides[-1] != common_stride:
            raise ValueError(
                f"the finest level has stride {strides[-1]}, common_stride is {common_stride}: "
                "MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES must end at COMMON_STRIDE"
            )
        for key, value, known in (
            ("CONTEXT", context, tuple(CONTEXTS)),
            ("RELABELLING", relabelling, POLICIES),
            ("OUTPUT", output, OUTPUTS),
        ):
            if value not in known:
                raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.{key} must be one of {', '.join(known)}, got {value!r}")
        if not 0 <= threshold <= 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.THRESHOLD must be 0 to 1, got {threshold}")
        if unity_dim < 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.UNITY_DIM must be 1 or more, got {unity_dim}")
        if output == "single" and context == "anl_multi":
            raise ValueError(
                "MODEL.SEM_SEG_HEAD.PYRAMID.CONTEXT: anl_multi is one of several levels, which the output single has "
                "not; use anl"
            )
        self.strides, self.size_divisibility = tuple(strides), strides[0]
        self.relabelling, self.threshold, self.output = relabelling, threshold, output
        fine_to_coarse = sort_levels(input_shape, common_stride)
        self.in_features = [name for name, _ in fine_to_coarse]
        channels = [shape.channels for _, shape in fine_to_coarse]
        factors = [stride // common_stride for stride in strides]
        self.project = LevelConv(channels, conv_dim)
        # A single output needs the coarser levels for the context that is carried through them, and for nothing else.
        used = factors if output != "single" or context == "coarse_to_fine" else factors[-1:]
        self.context = CONTEXTS[context](conv_dim, factors=used, norm=norm)
        self.classifiers = nn.ModuleList(
            nn.Sequential(
                conv_norm_relu(conv_dim, conv_dim, 1, norm=norm), init_classifier(nn.Conv2d(conv_dim, num_classes, 1))
            )
            for _ in (factors if output != "single" else factors[-1:])
        )
        self.unity = None
        if output != "single":
            self.unity = UnityPyramid(channels, unity_dim, factors=factors[:-1], norm=norm)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        pyramid = cfg.MODEL.SEM_SEG_HEAD.PYRAMID
        return {
            **common_arguments(cfg, input_shape),
            "strides": pyramid.STRIDES,
            "unity_dim": pyramid.UNITY_DIM,
            "context": pyramid.CONTEXT,
            "relabelling": pyramid.RELABELLING,
            "threshold": pyramid.THRESHOLD,
            "output": pyramid.OUTPUT,
        }

    def predict(self, features: Features) -> SemanticPrediction:
        levels = [features[name] for name in self.in_features]
        refined = self.context(self.project(levels))
        semantic = [
            classify(level) for classify, level in zip(self.classifiers, refined[-len(self.classifiers) :], strict=True)
        ]
        described = {"context": refined[0], "make_feature": lambda: refined[-1]}
        if self.unity is None:
            return SemanticPrediction(semantic[-1], **described)
        unity = self.unity(levels, _finest(features.get("valid"), levels[0]))
        auxiliary = {f"semantic_{stride}": logits for stride, logits in zip(self.strides, semantic)}
        auxiliary |= {f"unity_{stride}": logits for stride, logits in zip(self.strides, unity)}
        logits = semantic[-1]
        if self.output == "pyramidal":
            # In float32, as the losses have them: in half precision they would be rounded over the threshold.
            probabilities = [logits.float().sigmoid() for logits in unity]
            auxiliary["levels"] = assign_levels(probabilities, self.strides, self.threshold)
            logits = fuse_pyramid(auxiliary["levels"], semantic)
        return SemanticPrediction(logits, auxiliary=auxiliary, **described)

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Equation 1: the mean cross-entropy of the semantic levels, and the mean binary one of the unity levels."""
        if self.unity is None:
            labels = label_cells(targets, self.strides[-1], self.ignore_value)
            loss = self.pixel_loss(prediction.logits, labels, self.ignore_value)
            return {"loss_sem_seg": loss * self.loss_weight}
        pyramid = build_label_pyramid(targets, self.strides, self.ignore_value)
        semantic = [prediction.auxiliary[f"semantic_{stride}"] for stride in self.strides]
        unity = [prediction.auxiliary[f"unity_{stride}"] for stride in self.strides[:-1]]
        probabilities = [logits.detach().float().sigmoid() for logits in unity]
        pyramid = relabel(pyramid, self.relabelling, probabilities, self.threshold)
        terms = {
            "loss_sem_seg": [
                self.pixel_loss(logits, labels, self.ignore_value)
                for logits, labels in zip(semantic, pyramid.semantic, strict=True)
            ],
            "loss_unity": [
                mean_binary_cross_entropy(logits, cells) for logits, cells in zip(unity, pyramid.unity, strict=True)
            ],
        }
        return {name: torch.stack(each).mean() * self.loss_weight for name, each in terms.items()}

    def describe(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        """What the levels of a pyramidal output say; nothing of the other outputs, which leave no level a choice.

        "levels", uint8: the level that answers, 0 for the coarsest. "labels_<stride>", uint8 or int16: the class that
        each level would give. "unity_<stride>", float32, of each but the finest: the probability of one class.
        """
        said = prediction.auxiliary
        if "levels" not in said:
            return {}
        maps = {"levels": said["levels"].to(torch.uint8)}
        maps |= {f"unity_{stride}": said[f"unity_{stride}"].float().sigmoid() for stride in self.strides[:-1]}
        maps |= {f"labels_{stride}": winners(said[f"semantic_{stride}"].transpose(0, 1)) for stride in self.strides}
        return maps


def _finest(valid: Tensor | None, finest: Tensor) -> Tensor | None:
    """(N, 1, H, W) pixels of the image -> (N, 1, h, w): positions of the finest feature that have any."""
    return None if valid is None else F.adaptive_max_pool2d(valid.float(), finest.shape[-2:])
