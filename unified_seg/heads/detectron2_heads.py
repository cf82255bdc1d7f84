"""Detectron2's own semantic heads, under this project's contract."""

from contextlib import ExitStack
from typing import Self

from detectron2.config import CfgNode
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.projects.deeplab import DeepLabV3PlusHead
from torch import Tensor, nn

from unified_seg.heads.base import Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.inputs import HeadInputs
from unified_seg.ops.losses import mean_cross_entropy


class Detectron2Head(SemanticHead[SemanticPrediction]):
    """An adapter for heads with Detectron2's `layers` and `losses`, such as SemSegFPNHead and DeepLabV3PlusHead.

    The modules of the head become those of the adapter under the same names, so weights trained in Detectron2's
    PanopticFPN or SemanticSegmentor load, and the other way round.

    SemSegFPNHead, DeepLabV3PlusHead and their subclasses have a context; every head with a `predictor` has a feature,
    the input of the predictor.

    Args:
        head: the module; it must have `layers(features) -> logits`, `losses(logits, targets)`, `common_stride`,
            `ignore_value`.
        num_classes: K.

    Raises:
        ValueError: the module lacks one of these.
    """

    head: nn.Module

    def __init__(self, head: nn.Module, num_classes: int):
        missing = [n for n in ("layers", "losses", "common_stride", "ignore_value") if not hasattr(head, n)]
        if missing:
            raise ValueError(f"{type(head).__name__} can't be adapted: it has no {', '.join(missing)}")
        stride, ignore = int(head.common_stride), int(head.ignore_value)  # type: ignore[arg-type]
        weight = float(getattr(head, "loss_weight", 1.0))
        super().__init__(num_classes=num_classes, ignore_value=ignore, common_stride=stride, loss_weight=weight)
        # The head is not a child; the adapter shares its modules and parameters, so that their names are Detectron2's.
        self.__dict__["head"] = head
        self._modules, self._parameters, self._buffers = head._modules, head._parameters, head._buffers
        self._non_persistent_buffers_set = head._non_persistent_buffers_set
        context, classifier = _context_module(head), getattr(head, "predictor", None)
        self.context_channels = _out_channels(context) if context is not None else 0
        self.feature_channels = classifier.in_channels if classifier is not None else 0

    def train(self, mode: bool = True) -> Self:
        self.head.training = mode
        return super().train(mode)

    def predict(self, inputs: HeadInputs) -> SemanticPrediction:
        kept: dict[str, Tensor] = {}
        context, classifier = _context_module(self.head), getattr(self.head, "predictor", None)
        # `layers` returns only the logits; hooks keep the context and the feature, during this one call.
        with ExitStack() as hooks:
            if context is not None:
                hooks.enter_context(context.register_forward_hook(lambda _, args, result: kept.update(context=result)))
            if classifier is not None:
                hooks.enter_context(classifier.register_forward_pre_hook(lambda _, args: kept.update(feature=args[0])))
            logits = self.head.layers(inputs.features)  # type: ignore[operator]
        feature = kept.get("feature")
        make_feature = None if feature is None else lambda: feature
        return SemanticPrediction(logits, kept.get("context"), make_feature=make_feature)

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Return the losses of the head itself, or this project's if `pixel_loss` was replaced."""
        if self.pixel_loss is not mean_cross_entropy:
            return super().losses(prediction, targets)
        if (targets == self.ignore_value).all():
            # Detectron2's mean over no pixel would be NaN.
            return {"loss_sem_seg": prediction.logits.float().sum() * 0.0}
        return self.head.losses(prediction.logits, targets)  # type: ignore[operator]


def adapt_config(cfg: CfgNode) -> CfgNode:
    """Return the config as Detectron2's heads should read it.

    DeepLabV3PlusHead would take the size of INPUT.CROP for the window of its image pooling, and refuse every image
    whose size is not a multiple of it. Without a crop it pools the whole image, as in its paper; weights that
    Detectron2 trained with a crop load, and predict a little differently here.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.CROP.ENABLED = False
    return cfg


def _context_module(head: nn.Module) -> nn.Module | None:
    """Return the module whose output is the high-level feature.

    That is DeepLab's atrous pyramid, or what an FPN's coarsest level goes through.
    """
    if isinstance(head, DeepLabV3PlusHead):
        return head.decoder[head.in_features[-1]]["project_conv"]
    if isinstance(head, SemSegFPNHead):
        return head.scale_heads[-1]
    return None


def _out_channels(module: nn.Module) -> int:
    """Return the output channels of the last convolution in a module."""
    return [m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)][-1]
