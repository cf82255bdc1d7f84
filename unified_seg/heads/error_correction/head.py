"""Error prediction and detail correction of any base head.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), sections 3 and 4.
N = images, K = classes, (h, w) = the logits, (H, W) = the input.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor

from unified_seg.evaluation.base import PerImageEvaluator, Record, Scores
from unified_seg.heads.base import EarlierPrediction, Losses, SemanticHead, needs_loss
from unified_seg.heads.error_correction.correction_evaluator import CorrectionEvaluator, format_correction
from unified_seg.heads.error_correction.detail_branch import DetailBranch
from unified_seg.heads.error_correction.error_branch import ErrorBranch
from unified_seg.heads.error_correction.evaluator import ErrorEvaluator
from unified_seg.heads.error_correction.keys import add_keys
from unified_seg.heads.error_correction.losses import (
    correct,
    error_loss,
    find_errors,
    mask_hardest_pixels,
    masked_loss,
    weigh_correct_pixels,
)
from unified_seg.heads.error_correction.scores import format_scores
from unified_seg.heads.inputs import HeadInputs
from unified_seg.heads.options import check_choice, stride_of
from unified_seg.heads.wrapper import WrapperHead, WrapperPrediction
from unified_seg.ops.resampling import upsample_to
from unified_seg.structures.class_table import ClassTable

if TYPE_CHECKING:  # drawing imports matplotlib
    from unified_seg.visualization.panels import Scene
    from unified_seg.visualization.sheet import Picture

IMAGE_CHANNELS = 3
ERRORS = ("predicted", "unsure")
LEARN = ("errors", "all", "hardest")
OUTPUTS = ("corrected", "base", "detail", "average")


@SEM_SEG_HEADS_REGISTRY.register()
class ErrorCorrectionHead(WrapperHead):
    """A head that predicts where its base head is wrong, classifies these pixels again, and joins both predictions.

    Neither branch changes the base head: they read its prediction, and the backbone's features, without gradients. A
    frozen part has no loss. The detail branch learns the classes by `pixel_loss`, as a base head does; in the paper
    both are cross-entropy.

    Args:
        base: the base head; it must have a context.
        input_shape: channels and stride of the backbone's features, `detail_features` among them.
        detail_features: inputs of the detail branch, from coarse to fine; the stride of the last is that of the logits.
        loss_weight: factor of the losses of both branches; `base` has its own.
        error_dim, detail_dim: widths of the branches.
        norm: of their convolutions.
        hard_confidence: rho, in [0, 1]; an error whose class has a higher probability in `base` is a hard one.
        hard_weight: of a hard error in the error branch's loss, above 0.
        threshold: error probability above which a pixel counts as wrong, in [0, 1).
        errors: the pixels that count as wrong: "predicted", or "unsure", where the confidence of `base` is at most
            `hard_confidence`.
        learn: the pixels that the detail branch is trained on: "errors", "all" or "hardest".
        output: "corrected", "base" (the detail branch is left out and can't be trained), "detail" or "average".

    Raises:
        ValueError: a value out of its range, features that do not fit, or a base head without a context.
    """

    uses_pixel_loss: ClassVar[bool] = True
    config_node: ClassVar[str] = "ERROR_CORRECTION"
    own_parts: ClassVar[tuple[str, ...]] = ("error_branch", "detail_branch")
    earlier_prediction = EarlierPrediction("uncorrected", "correction")
    score_tables: ClassVar[Mapping[str, Callable[[Scores], str]]] = {
        "errors": format_scores,
        "correction": format_correction,
    }
    ablation_metrics: ClassVar[Mapping[str, tuple[str, str, str]]] = {
        "error_iou": ("errors", "IoU", "error IoU"),
        "error_iou_best": ("errors", "best_IoU", "best error IoU"),
        "confidence_error_iou": ("errors", "confidence_best_IoU", "best error IoU by confidence"),
        "hard_recall": ("errors", "hard_recall", "hard recall"),
        "marked_before": ("correction", "accuracy_before", "accuracy of marked pixels"),
        "marked_after": ("correction", "accuracy_after", "accuracy of them, corrected"),
    }

    @configurable
    def __init__(
        self,
        base: SemanticHead,
        input_shape: dict[str, ShapeSpec],
        *,
        detail_features: Sequence[str],
        loss_weight: float = 1.0,
        error_dim: int = 64,
        detail_dim: int = 128,
        norm: str = "GN",
        hard_confidence: float = 0.95,
        hard_weight: float = 1.5,
        threshold: float = 0.7,
        errors: str = "predicted",
        learn: str = "errors",
        output: str = "corrected",
    ):
        check_choice("ERROR_CORRECTION.ERRORS", errors, ERRORS)
        check_choice("ERROR_CORRECTION.LEARN", learn, LEARN)
        check_choice("ERROR_CORRECTION.OUTPUT", output, OUTPUTS)
        self.check(0 <= threshold < 1, "THRESHOLD", f"must be in [0, 1), got {threshold}")
        self.check(0 <= hard_confidence <= 1, "HARD_CONFIDENCE", f"must be in [0, 1], got {hard_confidence}")
        self.check(hard_weight > 0, "HARD_WEIGHT", f"must be above 0, got {hard_weight}")
        self.check(error_dim >= 2, "ERROR_DIM", f"must be 2 or more, got {error_dim}")
        self.check(detail_dim >= 1, "DETAIL_DIM", f"must be 1 or more, got {detail_dim}")
        shapes = self._detail_shapes(input_shape, detail_features, base.common_stride)
        super().__init__(base, common_stride=stride_of(shapes[-1]), loss_weight=loss_weight)
        context = base.context_channels
        self.check(context > 0, "BASE", f"{type(base).__name__} has no context, which both branches need")
        self.detail_features = list(detail_features)
        self.hard_confidence, self.hard_weight, self.threshold = hard_confidence, hard_weight, threshold
        self.errors, self.learn, self.output = errors, learn, output
        try:
            self.error_branch = ErrorBranch(base.num_classes, IMAGE_CHANNELS, context, error_dim, norm=norm)
            self.detail_branch = DetailBranch(
                [shape.channels for shape in shapes], context, detail_dim, base.num_classes, norm=norm
            )
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.ERROR_CORRECTION: {error}") from None
        # Its prediction is not used then, so it can't be trained.
        self.detail_branch.requires_grad_(output != "base")

    @classmethod
    def add_config(cls, cfg: CfgNode) -> None:
        add_keys(cfg.MODEL.SEM_SEG_HEAD)

    @classmethod
    def build_evaluators(
        cls, cfg: CfgNode, table: ClassTable, records: Sequence[Record], output_folder: Path
    ) -> list[PerImageEvaluator]:
        node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
        data = (table, records, output_folder)
        evaluators: list[PerImageEvaluator] = [
            ErrorEvaluator(*data, threshold=node.THRESHOLD, hard_confidence=node.HARD_CONFIDENCE)
        ]
        if (node.ERRORS, node.OUTPUT) == ("predicted", "corrected"):
            evaluators.append(CorrectionEvaluator(*data, threshold=node.THRESHOLD))
        return evaluators

    @classmethod
    def draw_pictures(cls, scene: "Scene") -> "list[Picture]":
        maps = scene.outputs.get("semantic_logit_maps", {})
        if not {"uncorrected", "error"} <= maps.keys():
            return []
        from unified_seg.heads.error_correction.panels import draw_errors

        return draw_errors(scene.size, maps, scene.table.ignore_label, scene.ground_truth)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
        return {
            **cls.common_arguments(cfg, input_shape),
            "input_shape": input_shape,
            "detail_features": node.DETAIL_FEATURES,
            "error_dim": node.ERROR_DIM,
            "detail_dim": node.DETAIL_DIM,
            "norm": node.NORM,
            "hard_confidence": node.HARD_CONFIDENCE,
            "hard_weight": node.HARD_WEIGHT,
            "threshold": node.THRESHOLD,
            "errors": node.ERRORS,
            "learn": node.LEARN,
            "output": node.OUTPUT,
        }

    def predict(self, inputs: HeadInputs) -> WrapperPrediction:
        if inputs.image is None:
            raise ValueError(
                "MODEL.META_ARCHITECTURE: ErrorCorrectionHead reads the input image, which only UnifiedSegmentor gives "
                "to its head"
            )
        base = self.base.predict(inputs)
        assert base.context is not None
        context = base.context.detach()
        lows = [inputs.features[name].detach() for name in self.detail_features]
        logits = base_logits = upsample_to(base.logits, like=lows[-1])
        error = self.error_branch(base_logits.detach(), inputs.image, context)
        auxiliary = {"error": error}
        if self.output != "base":
            auxiliary["detail"] = detail = self.detail_branch(lows, context)
            logits = self._join(base_logits, detail, self._mask_errors(error, base_logits))
        return WrapperPrediction(
            logits, context=base.context, auxiliary=auxiliary, make_feature=base.make_feature, base=base
        )

    def losses(self, prediction: WrapperPrediction, targets: Tensor) -> Losses:
        """Return the losses of the base head, of the error branch (equation 2) and of the detail branch (3)."""
        losses = super().losses(prediction, targets)
        error, detail = prediction.auxiliary["error"], prediction.auxiliary.get("detail")
        base = prediction.base.logits.detach()
        error = upsample_to(error.float(), like=targets)
        if needs_loss(error):
            base_logits = upsample_to(base.float(), like=targets)
            found = find_errors(base_logits, targets, self.ignore_value, self.hard_confidence)
            if self.error_branch.training:
                self.error_branch.update_balance(weigh_correct_pixels(found))
            losses["loss_error"] = error_loss(error, found, self.hard_weight) * self.loss_weight
        if detail is not None and needs_loss(detail):
            detail = upsample_to(detail.float(), like=targets)
            mask = self._mask_training_pixels(detail, error, base, targets)
            loss = masked_loss(detail, targets, mask, self.ignore_value, self.pixel_loss)
            losses["loss_detail"] = loss * self.loss_weight
        return losses

    def logit_maps(self, prediction: WrapperPrediction) -> dict[str, Tensor]:
        """Return the maps of the base head, and

        - "uncorrected": its logits;
        - "error": (N, 1, h, w), whose probability THRESHOLD is compared with;
        - "error_unbalanced": the same as probabilities that can be compared between images, and added up.
        """
        error = prediction.auxiliary["error"]
        own = {"error": error, "error_unbalanced": self.error_branch.unbalance(error)}
        return {**super().logit_maps(prediction), **own}

    def _mask_errors(self, error: Tensor, base: Tensor) -> Tensor:
        """Return equation 4, (N, 1, h, w) bool, of logits (N, 1, h, w) of an error and (N, K, h, w) of classes."""
        if self.errors == "unsure":
            return base.float().softmax(1).amax(1, keepdim=True) <= self.hard_confidence
        return error.float().sigmoid() > self.threshold

    def _join(self, base: Tensor, detail: Tensor, mask: Tensor) -> Tensor:
        if self.output == "detail":
            return detail
        if self.output == "average":
            return torch.logaddexp(base.float().log_softmax(1), detail.float().log_softmax(1))
        return correct(base, detail, mask)

    def _mask_training_pixels(self, detail: Tensor, error: Tensor, base: Tensor, targets: Tensor) -> Tensor:
        """Return (N, H, W) bool, the pixels of the detail branch's loss; `detail` and `error` have that size too."""
        if self.learn == "all":
            return torch.ones_like(targets, dtype=torch.bool)
        if self.learn == "hardest":
            return mask_hardest_pixels(detail, targets, self.ignore_value)
        if self.errors == "unsure":
            base = upsample_to(base.float(), like=targets)
        return self._mask_errors(error, base)[:, 0]

    @classmethod
    def _detail_shapes(
        cls, input_shape: dict[str, ShapeSpec], names: Sequence[str], base_stride: int
    ) -> list[ShapeSpec]:
        unknown = [name for name in names if name not in input_shape]
        has = ", ".join(input_shape)
        cls.check(bool(names), "DETAIL_FEATURES", f"is empty; the backbone has {has}")
        cls.check(not unknown, "DETAIL_FEATURES", f"the backbone has no {', '.join(unknown)}; it has {has}")
        shapes = [input_shape[name] for name in names]
        strides = [stride_of(shape) for shape in shapes]
        cls.check(
            strides == sorted(strides, reverse=True),
            "DETAIL_FEATURES",
            f"must go from coarse to fine, got strides {strides}",
        )
        cls.check(
            strides[-1] <= base_stride,
            "DETAIL_FEATURES",
            f"must end at stride {base_stride} of the base head's logits or finer, got {strides[-1]}",
        )
        return shapes
