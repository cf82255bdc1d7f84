"""ResNets as torchvision publishes them, under Detectron2's names.

The input of torchvision's models is RGB, and their bottleneck blocks halve the size in the 3x3 convolution. The weights
load into other configs too, since all shapes agree, but are of little use there. Keys that a config needs beside
MODEL.WEIGHTS, which may be the URL itself (https://download.pytorch.org/models/resnet50-0676ba61.pth):

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
# The classifier, and the number of batches that the statistics were gathered from.
DROPPED = re.compile(r"fc\.(weight|bias)|.+\.num_batches_tracked")
STEM_NAME = re.compile(r"(conv1|bn1)\.(\w+)")
BLOCK_NAME = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")


def is_torchvision_resnet(weights: Mapping[str, Any]) -> bool:
    """Whether all names are those of one of torchvision's ResNets, of any depth and width."""
    return "layer1.0.conv1.weight" in weights and all(
        DROPPED.fullmatch(name) or STEM_NAME.fullmatch(name) or BLOCK_NAME.fullmatch(name) for name in weights
    )


def rename_torchvision_resnet(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights and running statistics of a ResNet's stem and stages by the names of Detectron2's ResNet.

    layer1.0.bn2.weight becomes res2.0.conv2.norm.weight, layer1.0.downsample.0.weight res2.0.shortcut.weight.

    Args:
        weights: a state dict that `is_torchvision_resnet`.
    """
    return {_rename(name): value for name, value in weights.items() if not DROPPED.fullmatch(name)}


def _rename(name: str) -> str:
    if in_stem := STEM_NAME.fullmatch(name):
        layer, parameter = in_stem.groups()
        return f"{STEM[layer]}.{parameter}"
    in_block = BLOCK_NAME.fullmatch(name)
    assert in_block is not None, name
    stage, block, kind, number, parameter = in_block.groups()
    if kind == "downsample.":
        layer = "shortcut" if number == "0" else "shortcut.norm"
    else:
        layer = f"conv{number}" if kind == "conv" else f"conv{number}.norm"
    return f"res{int(stage) + 1}.{block}.{layer}.{parameter}"
