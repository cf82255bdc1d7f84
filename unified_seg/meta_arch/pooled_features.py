"""The pooled features of an image, by which images can be compared."""

import threading
from typing import Any

from torch import Tensor, nn

POOLED_FEATURES = "pooled_features"


def add_pooled_features(model: nn.Module) -> None:
    """Make a model add `pooled_features` to its outputs: (C,) float32, the mean of the coarsest map of its backbone.

    A model may predict in several threads. With several views of an image the features are those of the last one. A
    model without a module `backbone` stays as it is.

    Args:
        model: in inference mode, which returns one dict for each image.
    """
    backbone = next((module for name, module in model.named_modules() if name.split(".")[-1] == "backbone"), None)
    if backbone is None:
        return
    found = threading.local()

    def keep(_: nn.Module, __: Any, features: dict[str, Tensor]) -> None:
        coarsest = min(features.values(), key=lambda feature: feature.shape[-2] * feature.shape[-1])
        found.pooled = coarsest.float().mean(dim=(-2, -1))

    def attach(_: nn.Module, __: Any, outputs: list[dict[str, Any]]) -> None:
        for output, pooled in zip(outputs, found.pooled):
            output[POOLED_FEATURES] = pooled

    backbone.register_forward_hook(keep)
    model.register_forward_hook(attach)
