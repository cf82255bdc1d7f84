"""Weights that others publish under names of their own, in the form that Detectron2's checkpointer reads."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from unified_seg.checkpoint.efficientnet_weights import NETWORK, is_efficientnet_lite, rename_efficientnet_lite
from unified_seg.checkpoint.torchvision_weights import is_torchvision_resnet, rename_torchvision_resnet


class WeightSource(NamedTuple):
    """A publisher of weights.

    Attributes:
        name: by which Detectron2 chooses how to match names; it knows "Caffe2".
        recognizes: whether the content of a file is from this source.
        convert: its weights, by names that end as those of the backbones do.
        module: the last name of the module that the weights must fill, with none left over; "" if some may be.
    """

    name: str
    recognizes: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]]
    module: str = ""


def as_checkpoint(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a file as a checkpoint, with its weights as `model`.

    Weights from one of `SOURCES` are marked to be matched by the ends of their names.
    """
    for source in SOURCES:
        if source.recognizes(content):
            return {
                "model": source.convert(content),
                "__author__": source.name,
                "matching_heuristics": True,
                "whole_module": source.module,
            }
    return content if "model" in content else {"model": content}


def _is_caffe2(content: Mapping[str, Any]) -> bool:
    """Whether this is from the model zoo of Caffe2, whose ImageNet weights have no "blobs"."""
    arrays = content.get("blobs", content)
    is_named = "model" not in content and isinstance(arrays, Mapping)
    return is_named and any(isinstance(value, np.ndarray) for value in arrays.values())


def _without_momentum(content: Mapping[str, Any]) -> dict[str, Any]:
    arrays = content.get("blobs", content)
    return {name: value for name, value in arrays.items() if not name.endswith("_momentum")}


SOURCES = (
    WeightSource("Caffe2", _is_caffe2, _without_momentum),
    WeightSource("torchvision", is_torchvision_resnet, rename_torchvision_resnet),
    WeightSource("EfficientNet-Lite", is_efficientnet_lite, rename_efficientnet_lite, module=NETWORK),
)
