"""Error prediction and detail correction around any semantic head.

Source: the paper of that name (erroneous pixel prediction), 3 and 4. N = images, K = classes, (H, W) = the input.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor

from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.base_head import IMAGE_CHANNELS, learns, probe, stride_of
from unified_seg.heads.error_correction.detail_branch import DetailBranch
from unified_seg.heads.error_correction.error_branch import ErrorBranch
from unified_seg.heads.error_correction.losses import (
    correct,
    error_balance,
    error_loss,
    find_errors,
    hardest_pixels,
    masked_cross_entropy,
)
from unified_seg.heads.wrapper import WrapperHead
from unified_seg.ops.resampling import upsample_to

ERRORS = ("predicted", "unsure")
LEARN = ("errors", "all", "hardest")
OUTPUTS = ("corrected", "base", "detail", "average")


@SEM_SEG_HEADS_REGISTRY.register()
class ErrorCorrectionHead(WrapperHead):
    """Predicts where the head inside is wrong, classifies these pixels anew, and joins the two answers.

    Neither branch changes the head inside: they get what it says, and the backbone's features, without their
    gradients. What has nothing to learn has no loss, so freezing a part turns its loss off.

    Args:
        base: the head inside.
        input_shape: channels and stride of the backbone's features, those of `base` and `detail_features` among them.
        detail_features: what the detail branch sees, from coarse to fine; the stride of the last is that of the logits.
        loss_weight: factor of the losses of both branches; `base` has its own.
        error_dim, detail_dim: widths of the branches.
        gate, norm: of their global attention.
        hard_confidence: an error of which `base` is surer is a hard one; 0 to 1.
        hard_weight: of a hard error in the error branch's loss, above 0.
        threshold: error probability above which a pixel is taken to be wrong; 0 <= t < 1.
        errors: what is taken to be wrong: "predicted", or "unsure", where `base` is not surer than `hard_confidence`.
        learn: what the detail branch learns from: "errors", "all" or "hardest".
        output: "corrected", "base" (the detail branch is left out and can't be trained), "detail" or "average".
        sparse: in inference the detail branch's last block answers only where the answer is wanted.

    Raises:
        ValueError: a value out of its range, features that do not fit, or a head inside that has no context.
    """

    config_node: ClassVar[str] = "ERROR_CORRECTION"
    own_parts: ClassVar[tuple[str, ...]] = ("error_branch", "detail_branch")
    needs_image = True

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
        gate: str = "sigmoid",
        norm: str = "GN",
        hard_confidence: float = 0.95,
        hard_weight: float = 1.5,
        threshold: float = 0.7,
        errors: str = "predicted",
        learn: str = "errors",
        output: str = "corrected",
        sparse: bool = True,
    ):
        for key, value, known in (("ERRORS", errors, ERRORS), ("LEARN", learn, LEARN), ("OUTPUT", output, OUTPUTS)):
            self.check(value in known, key, f"{value!r} is not one of {', '.join(known)}")
        self.check(0 <= threshold < 1, "THRESHOLD", f"must be 0 to 1, without 1, got {threshold}")
        self.check(0 <= hard_confidence <= 1, "HARD_CONFIDENCE", f"must be 0 to 1, got {hard_confidence}")
        self.check(hard_weight > 0, "HARD_WEIGHT", f"must be above 0, got {hard_weight}")
        self.check(error_dim >= 2, "ERROR_DIM", f"must be 2 or more, got {error_dim}")
        self.check(detail_dim >= 1, "DETAIL_DIM", f"must be 1 or more, got {detail_dim}")
        shapes = self._detail_shapes(input_shape, detail_features, base.common_stride)
        super().__init__(base, common_stride=stride_of(shapes[-1]), loss_weight=loss_weight)
        context = probe(base, input_shape).context
        self.check(context is not None, "BASE", "the head inside gives no context, which the branches look at")
        assert context is not None
        self.detail_features = list(detail_features)
        self.hard_confidence, self.hard_weight, self.threshold = hard_confidence, hard_weight, threshold
        self.errors, self.learn, self.output, self.sparse = errors, learn, output, sparse
        try:
            self.error_branch = ErrorBranch(
                base.num_classes, IMAGE_CHANNELS, context.shape[1], error_dim, gate=gate, norm=norm
            )
            self.detail_branch = DetailBranch(
                [shape.channels for shape in shapes],
                context.shape[1],
                detail_dim,
                base.num_classes,
                gate=gate,
                norm=norm,
            )
        except ValueError as error:
            raise ValueError(f"MODEL.SEM_SEG_HEAD.ERROR_CORRECTION: {error}") from None
        # It says nothing then, so there is nothing to teach it.
        self.detail_branch.requires_grad_(output != "base")

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        node = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION
        return {
            **cls.common_arguments(cfg, input_shape),
            "detail_features": node.DETAIL_FEATURES,
            "error_dim": node.ERROR_DIM,
            "detail_dim": node.DETAIL_DIM,
            "gate": node.GATE,
            "norm": node.NORM,
            "hard_confidence": node.HARD_CONFIDENCE,
            "hard_weight": node.HARD_WEIGHT,
            "threshold": node.THRESHOLD,
            "errors": node.ERRORS,
            "learn": node.LEARN,
            "output": node.OUTPUT,
            "sparse": node.SPARSE,
        }

    def predict(self, features: Features) -> SemanticPrediction:
        base = self.base.predict(features)
        assert base.context is not None
        context = base.context.detach()
        lows = [features[name].detach() for name in self.detail_features]
        own = upsample_to(base.logits, like=lows[-1])
        error = self.error_branch(own.detach(), features["image"], context)
        auxiliary, logits = {"error": error}, own
        if self.output != "base":
            mask = self._taken_to_be_wrong(error, own)
            auxiliary["detail"] = detail = self._classify_anew(lows, context, mask)
            logits = self._join(own, detail, mask)
        return SemanticPrediction(
            logits, context=base.context, auxiliary=auxiliary, make_feature=base.make_feature, base=base
        )

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """The losses of the head inside, equation 2 of the error branch, equation 3 of the detail branch."""
        losses = super().losses(prediction, targets)
        assert prediction.base is not None
        error, detail = prediction.auxiliary["error"], prediction.auxiliary.get("detail")
        own = prediction.base.logits.detach()
        error = upsample_to(error.float(), like=targets)
        if learns(error):
            found = find_errors(
                upsample_to(own.float(), like=targets), targets, self.ignore_value, self.hard_confidence
            )
            if self.error_branch.training:
                self.error_branch.remember(error_balance(found))
            losses["loss_error"] = error_loss(error, found, self.hard_weight) * self.loss_weight
        if detail is not None and learns(detail):
            detail = upsample_to(detail.float(), like=targets)
            mask = self._learned(detail, error, own, targets)
            losses["loss_detail"] = masked_cross_entropy(detail, targets, mask, self.ignore_value) * self.loss_weight
        return losses

    def logit_maps(self, prediction: SemanticPrediction) -> dict[str, Tensor]:
        """What the head inside gives, and

        - "uncorrected": its logits;
        - "error": (N, 1, h, w), what THRESHOLD is a threshold of;
        - "error_unbalanced": the same as probabilities that can be compared between images, and added up.
        """
        assert prediction.base is not None
        error = prediction.auxiliary["error"]
        own = {"error": error, "error_unbalanced": self.error_branch.unbalanced(error)}
        return {**super().logit_maps(prediction), "uncorrected": prediction.base.logits, **own}

    def _taken_to_be_wrong(self, error: Tensor, base: Tensor) -> Tensor:
        """Equation 4: (N, 1, h, w) bool of logits (N, 1, h, w) of an error and (N, K, h, w) of classes."""
        if self.errors == "unsure":
            return base.float().softmax(1).amax(1, keepdim=True) <= self.hard_confidence
        return error.float().sigmoid() > self.threshold

    def _classify_anew(self, lows: Sequence[Tensor], context: Tensor, mask: Tensor) -> Tensor:
        # Losses look at every pixel, also where they are only measured.
        learning = self.training or torch.is_grad_enabled()
        if self.sparse and self.output == "corrected" and not learning:
            return self.detail_branch.at(lows, context, mask)
        return self.detail_branch(lows, context)

    def _join(self, base: Tensor, detail: Tensor, mask: Tensor) -> Tensor:
        if self.output == "detail":
            return detail
        if self.output == "average":
            return torch.logaddexp(base.float().log_softmax(1), detail.float().log_softmax(1))
        return correct(base, detail, mask)

    def _learned(self, detail: Tensor, error: Tensor, base: Tensor, targets: Tensor) -> Tensor:
        """(N, H, W) bool: the pixels of the detail branch's loss; `detail` and `error` have the size of the targets."""
        if self.learn == "all":
            return torch.ones_like(targets, dtype=torch.bool)
        if self.learn == "hardest":
            return hardest_pixels(detail, targets, self.ignore_value)
        if self.errors == "unsure":
            base = upsample_to(base.float(), like=targets)
        return self._taken_to_be_wrong(error, base)[:, 0]

    @classmethod
    def _detail_shapes(
        cls, input_shape: dict[str, ShapeSpec], names: Sequence[str], base_stride: int
    ) -> list[ShapeSpec]:
        unknown = [name for name in names if name not in input_shape]
        has = ", ".join(input_shape)
        cls.check(
            bool(names) and not unknown,
            "DETAIL_FEATURES",
            f"the backbone has {has}, not {', '.join(unknown) or 'none'}",
        )
        shapes = [input_shape[name] for name in names]
        strides = [stride_of(shape) for shape in shapes]
        cls.check(strides == sorted(strides, reverse=True), "DETAIL_FEATURES", f"go from coarse to fine, not {strides}")
        cls.check(
            strides[-1] <= base_stride,
            "DETAIL_FEATURES",
            f"end at stride {strides[-1]}, coarser than the logits to correct, of stride {base_stride} "
            "(CONFUSION_GROUPS.STRIDE is that of confusion groups)",
        )
        return shapes
