"""The semantic head with a pyramidal output.

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), sections 3
and 4.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg.evaluation.base import PerImageEvaluator, Record, Scores
from unified_seg.heads.base import Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import HeadOptions, check_choice
from unified_seg.heads.pyramidal_output.evaluator import LevelEvaluator, format_scores
from unified_seg.heads.pyramidal_output.keys import add_keys
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
from unified_seg.hints import format_hint
from unified_seg.layers.conv import conv_norm_relu, init_classifier
from unified_seg.layers.level_conv import LevelConv
from unified_seg.ops.losses import mean_binary_cross_entropy
from unified_seg.ops.resampling import argmax_labels
from unified_seg.structures.class_table import ClassTable

if TYPE_CHECKING:  # drawing imports matplotlib
    from unified_seg.visualization.panels import Scene

OUTPUTS = ("pyramidal", "finest", "single")


@SEM_SEG_HEADS_REGISTRY.register()
class PyramidalOutputHead(SemanticHead[SemanticPrediction]):
    """A head that labels large cells of one class at a coarse level, and the rest at finer levels.

    A unity pyramid predicts which cells hold one class, a semantic pyramid labels the cells of every level; a pixel has
    the label of the coarsest of its cells that holds one class (3.3). In training a level ignores the cells that a
    coarser one has resolved (3.2).

    Args:
        options: common to all heads; `common_stride` is the stride of the finest feature and of the finest level,
            `conv_dim` is D_s, the channels of the semantic pyramid.
        strides: of the levels, from the coarsest to the finest.
        unity_dim: D_u, channels of the unity pyramid.
        context: "none", "anl", "anl_multi" or "coarse_to_fine" (4.2, Table 6).
        relabelling: which cells are resolved by coarser ones: a name of POLICIES (3.2, Table 7).
        threshold: tau, in [0, 1]: a cell with at least this probability counts as a unity-cell.
        output: "pyramidal"; "finest" trains the same and predicts by the finest level alone (Table 8); "single" is the
            network without the pyramids, for comparison (Table 6).

    Raises:
        ValueError: strides that don't nest or end at another stride than the features, or a value out of its range.
    """

    config_node: ClassVar[str] = "PYRAMID"
    score_tables: ClassVar[Mapping[str, Callable[[Scores], str]]] = {"levels": format_scores}

    @configurable
    def __init__(
        self,
        options: HeadOptions,
        *,
        strides: Sequence[int] = (32, 16, 8, 4),
        unity_dim: int = 64,
        context: str = "coarse_to_fine",
        relabelling: str = "true_positives",
        threshold: float = 0.9,
        output: str = "pyramidal",
    ):
        super().__init__(**options.contract)
        common_stride, conv_dim, norm = options.common_stride, options.conv_dim, options.norm
        try:
            check_strides(strides)
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES: {error}") from None
        if strides[-1] != common_stride:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.PYRAMID.STRIDES must end at COMMON_STRIDE, {common_stride}, got {strides[-1]}"
            )
        check_choice("PYRAMID.CONTEXT", context, tuple(CONTEXTS))
        check_choice("PYRAMID.RELABELLING", relabelling, POLICIES)
        check_choice("PYRAMID.OUTPUT", output, OUTPUTS)
        if not 0 <= threshold <= 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.THRESHOLD must be in [0, 1], got {threshold}")
        if unity_dim < 1:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.PYRAMID.UNITY_DIM must be 1 or more, got {unity_dim}")
        if output == "single" and context == "anl_multi":
            raise ValueError(
                "MODEL.SEM_SEG_HEAD.PYRAMID.CONTEXT: anl_multi needs several levels, PYRAMID.OUTPUT single has "
                f"one; use {format_hint('MODEL.SEM_SEG_HEAD.PYRAMID.CONTEXT', 'anl')}"
            )
        self.strides, self.size_divisibility = tuple(strides), strides[0]
        self.relabelling, self.threshold, self.output = relabelling, threshold, output
        fine_to_coarse = options.sorted_levels()
        self.in_features = [name for name, _ in fine_to_coarse]
        channels = [shape.channels for _, shape in fine_to_coarse]
        factors = [stride // common_stride for stride in strides]
        self.project = LevelConv(channels, conv_dim)
        # A single output needs the coarser levels for the context that is carried through them, and for nothing else.
        used = factors if output != "single" or context == "coarse_to_fine" else factors[-1:]
        self.context = CONTEXTS[context](conv_dim, factors=used, norm=norm)
        self.classifiers = nn.ModuleList(
            nn.Sequential(
                conv_norm_relu(conv_dim, conv_dim, 1, norm=norm),
                init_classifier(nn.Conv2d(conv_dim, options.num_classes, 1)),
            )
            for _ in (factors if output != "single" else factors[-1:])
        )
        self.context_channels = self.feature_channels = conv_dim
        self.unity = None
        if output != "single":
            self.unity = UnityPyramid(channels, unity_dim, factors=factors[:-1], norm=norm)

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def build_evaluators(
        cls, cfg: CfgNode, table: ClassTable, records: Sequence[Record], output_folder: Path
    ) -> list[PerImageEvaluator]:
        pyramid = cfg.MODEL.SEM_SEG_HEAD.PYRAMID
        if pyramid.OUTPUT != "pyramidal":
            return []
        return [LevelEvaluator(table, records, output_folder, pyramid.STRIDES)]

    @classmethod
    def draw_sheet(cls, scene: "Scene", columns: int) -> np.ndarray | None:
        maps = scene.outputs.get("semantic_maps", {})
        if "levels" not in maps:
            return None
        from unified_seg.heads.pyramidal_output.panels import draw_pyramid

        return draw_pyramid(scene.image, maps, columns)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        pyramid = cfg.MODEL.SEM_SEG_HEAD.PYRAMID
        return {
            "options": HeadOptions.from_config(cfg, input_shape),
            "strides": pyramid.STRIDES,
            "unity_dim": pyramid.UNITY_DIM,
            "context": pyramid.CONTEXT,
            "relabelling": pyramid.RELABELLING,
            "threshold": pyramid.THRESHOLD,
            "output": pyramid.OUTPUT,
        }

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        levels = [inputs.features[name] for name in self.in_features]
        refined = self.context(self.project(levels))
        semantic = [
            classify(level) for classify, level in zip(self.classifiers, refined[-len(self.classifiers) :], strict=True)
        ]
        prediction = SemanticPrediction(semantic[-1], context=refined[0], make_feature=lambda: refined[-1])
        if self.unity is None:
            return prediction
        # The border that pads an image must not decide whether a cell holds one class.
        unity = self.unity(levels, _pool_valid(inputs.valid, levels[0]))
        auxiliary = prediction.auxiliary
        auxiliary |= {f"semantic_{stride}": logits for stride, logits in zip(self.strides, semantic)}
        auxiliary |= {f"unity_{stride}": logits for stride, logits in zip(self.strides, unity)}
        if self.output == "pyramidal":
            # In float32, as in the losses: in half precision they would be rounded over the threshold.
            probabilities = [logits.float().sigmoid() for logits in unity]
            auxiliary["levels"] = assign_levels(probabilities, self.strides, self.threshold)
            prediction.logits = fuse_pyramid(auxiliary["levels"], semantic)
        return prediction

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Return equation 1: the mean cross-entropy of the semantic levels, the mean binary one of the unity levels."""
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
        """Return the maps of the levels of a pyramidal output; {} for the other outputs.

        "levels", uint8: the level assigned to each cell, 0 for the coarsest. "labels_<stride>", uint8 or int16: the
        class that each level predicts. "unity_<stride>", float32, of each but the finest: the probability that the
        cell holds one class.
        """
        found = prediction.auxiliary
        if "levels" not in found:
            return {}
        maps = {"levels": found["levels"].to(torch.uint8)}
        maps |= {f"unity_{stride}": found[f"unity_{stride}"].float().sigmoid() for stride in self.strides[:-1]}
        maps |= {
            f"labels_{stride}": argmax_labels(found[f"semantic_{stride}"].transpose(0, 1)) for stride in self.strides
        }
        return maps


def _pool_valid(valid: Tensor | None, finest: Tensor) -> Tensor | None:
    """Return (N, 1, h, w): the positions of the finest feature with a pixel of the image, of (N, 1, H, W) pixels."""
    return None if valid is None else F.adaptive_max_pool2d(valid.float(), finest.shape[-2:])
