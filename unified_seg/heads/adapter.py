"""Detectron2's own semantic heads, under this project's contract."""

from typing import Any

from torch import Tensor, nn

from unified_seg.heads.base import Features, Losses, SemanticHead, SemanticPrediction


class Detectron2Head(SemanticHead):
    """Gives a head that has Detectron2's `layers` and `losses` (SemSegFPNHead, DeepLabV3PlusHead) our contract.

    The adapter adds no name of its own to the state dict, so weights trained in Detectron2's PanopticFPN or
    SemanticSegmentor load, and the other way round.

    Args:
        head: the module; it must have `layers(features) -> logits`, `losses(logits, targets)`, `common_stride`,
            `ignore_value`.
        num_classes: K.

    Raises:
        TypeError: the module lacks one of these.
    """

    def __init__(self, head: nn.Module, num_classes: int):
        missing = [n for n in ("layers", "losses", "common_stride", "ignore_value") if not hasattr(head, n)]
        if missing:
            raise TypeError(f"{type(head).__name__} is not a semantic head: it has no {', '.join(missing)}")
        stride, ignore = int(head.common_stride), int(head.ignore_value)  # type: ignore[arg-type]
        super().__init__(num_classes=num_classes, ignore_value=ignore, common_stride=stride)
        self.head = head
        self.register_state_dict_post_hook(_drop_own_name)
        self.register_load_state_dict_pre_hook(_add_own_name)

    def predict(self, features: Features) -> SemanticPrediction:
        return SemanticPrediction(self.head.layers(features))  # type: ignore[operator]

    def losses(self, prediction: SemanticPrediction, targets: Tensor) -> Losses:
        if (targets == self.ignore_value).all():
            # Detectron2's mean over no pixel would be NaN.
            return {"loss_sem_seg": prediction.logits.float().sum() * 0.0}
        return self.head.losses(prediction.logits, targets)  # type: ignore[operator]


def _drop_own_name(module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: object) -> None:
    _rename(state_dict, f"{prefix}head.", prefix)


def _add_own_name(module: nn.Module, state_dict: dict[str, Any], prefix: str, *unused: object) -> None:
    _rename(state_dict, prefix, f"{prefix}head.")


def _rename(state_dict: dict[str, Any], old: str, new: str) -> None:
    for key in [key for key in state_dict if key.startswith(old)]:
        state_dict[new + key[len(old) :]] = state_dict.pop(key)
