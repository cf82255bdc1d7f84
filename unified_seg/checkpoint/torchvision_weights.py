"""ResNets as torchvision publishes them, under Detectron2's names.

The input of torchvision's models is RGB, and their bottleneck blocks halve the size in the 3x3 convolution; weights fit
by shape under other keys too, and would be of little use there. What a config needs beside MODEL.WEIGHTS, which may be
the URL itself (https://download.pytorch.org/models/resnet50-0676ba61.pth):

    INPUT.FORMAT: RGB
    MODEL.PIXEL_MEAN: [123.675, 116.280, 103.530]
    MODEL.PIXEL_STD: [58.395, 57.120, 57.375]
    MODEL.RESNETS.STRIDE_IN_1X1: False
    MODEL.RESNETS.RES2_OUT_CHANNELS: 64   # ResNet-18 and 34 only
"""

import re
from collections.abc import Mapping
from typing import Any

STEM = {"conv1": "stem.conv1", "bn1": "stem.conv1.norm"}
# What a checkpoint of weights does not bring: the classifier, and how many batches the statistics were gathered from.
DROPPED = re.compile(r"fc\.(weight|bias)|.+\.num_batches_tracked")
OF_STEM = re.compile(r"(conv1|bn1)\.(\w+)")
OF_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")


def is_torchvision_resnet(weights: Mapping[str, Any]) -> bool:
    """Whether these are all names of one of torchvision's ResNets, of any depth and width."""
    return "layer1.0.conv1.weight" in weights and all(
        DROPPED.fullmatch(name) or OF_STEM.fullmatch(name) or OF_BLOCK.fullmatch(name) for name in weights
    )


def with_detectron2_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights and running statistics of a ResNet's stem and stages, named as in Detectron2's ResNet.

    layer1.0.bn2.weight becomes res2.0.conv2.norm.weight, layer1.0.downsample.0.weight res2.0.shortcut.weight.

    Args:
        weights: a state dict that `is_torchvision_resnet`.
    """
    return {_renamed(name): value for name, value in weights.items() if not DROPPED.fullmatch(name)}


def _renamed(name: str) -> str:
    if of_stem := OF_STEM.fullmatch(name):
        layer, parameter = of_stem.groups()
        return f"{STEM[layer]}.{parameter}"
    of_block = OF_BLOCK.fullmatch(name)
    assert of_block is not None, name
    stage, block, kind, number, parameter = of_block.groups()
    if kind == "downsample.":
        layer = "shortcut" if number == "0" else "shortcut.norm"
    else:
        layer = f"conv{number}" if kind == "conv" else f"conv{number}.norm"
    return f"res{int(stage) + 1}.{block}.{layer}.{parameter}"
