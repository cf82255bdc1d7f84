"""Detectron2's own semantic heads, under this project's contract."""

from contextlib import ExitStack

from detectron2.config import CfgNode
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.projects.deeplab import DeepLabV3PlusHead
from torch import Tensor, nn

from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction
from unified_seg.heads.hidden_name import hide_name
from unified_seg.ops.losses import mean_cross_entropy


class Detectron2Head(SemanticHead):
    """Gives a head that has Detectron2's `layers` and `losses` (SemSegFPNHead, DeepLabV3PlusHead) our contract.

    The adapter adds no name of its own to the state dict, so weights trained in Detectron2's PanopticFPN or
    SemanticSegmentor load, and the other way round.

    Of these two heads and what is derived from them the prediction has a context, and of every head with a `predictor`
    the feature that goes into it.

    Args:
        head: the module; it must have `layers(features) -> logits`, `losses(logits, targets)`, `common_stride`,
            `ignore_value`.
        num_classes: K.

    Raises:
        ValueError: the module lacks one of these.
    """

    def __init__(self, head: nn.Module, num_classes: int):
        missing = [n for n in ("layers", "losses", "common_stride", "ignore_value") if not hasattr(head, n)]
        if missing:
            raise ValueError(f"{type(head).__name__} is no head that can be adapted: it has no {', '.join(missing)}")
        stride, ignore = int(head.common_stride), int(head.ignore_value)  # type: ignore[arg-type]
        weight = float(getattr(head, "loss_weight", 1.0))
        super().__init__(num_classes=num_classes, ignore_value=ignore, common_stride=stride, loss_weight=weight)
        self.head = head
        hide_name(self, "head")

    def predict(self, features: Features) -> SemanticPrediction:
        said: dict[str, Tensor] = {}
        context, classifier = _context_module(self.head), getattr(self.head, "predictor", None)
        # Its `layers` give the logits alone; what it computes on the way is overheard, in this one call.
        with ExitStack() as hooks:
            if context is not None:
                hooks.enter_context(context.register_forward_hook(lambda _, args, result: said.update(context=result)))
            if classifier is not None:
                hooks.enter_context(classifier.register_forward_pre_hook(lambda _, args: said.update(feature=args[0])))
            logits = self.head.layers(features)  # type: ignore[operator]
        feature = said.get("feature")
        make_feature = None if feature is None else lambda: feature
        return SemanticPrediction(logits, said.get("context"), make_feature=make_feature)

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        """Those of the head itself, or this project's where `pixel_loss` was replaced."""
        if self.pixel_loss is not mean_cross_entropy:
            return super().losses(prediction, targets)
        if (targets == self.ignore_value).all():
            # Detectron2's mean over no pixel would be NaN.
            return {"loss_sem_seg": prediction.logits.float().sum() * 0.0}
        return self.head.losses(prediction.logits, targets)  # type: ignore[operator]


def adapted_config(cfg: CfgNode) -> CfgNode:
    """The config as Detectron2's heads should read it.

    DeepLabV3PlusHead would take the size of INPUT.CROP for the window of its image pooling, and refuse every image that
    is no multiple of it. Without a crop it pools the whole image, as its paper says; weights that Detectron2 trained
    with a crop load, and answer a little differently here.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.CROP.ENABLED = False
    return cfg


def _context_module(head: nn.Module) -> nn.Module | None:
    """What gives the high-level feature: DeepLab's atrous pyramid, or what an FPN's coarsest level goes through."""
    if isinstance(head, DeepLabV3PlusHead):
        return head.decoder[head.in_features[-1]]["project_conv"]
    if isinstance(head, SemSegFPNHead):
        return head.scale_heads[-1]
    return None
