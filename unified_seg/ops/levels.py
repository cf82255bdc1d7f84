"""Probabilities in 8 bits: p is the level floor(256 p), at most 255; from 128 on it is a half or more."""

import torch
from torch import Tensor

from unified_seg_arrays.levels import LEVELS


def to_levels(probabilities: Tensor) -> Tensor:
    """Return the levels of probabilities, as uint8; what rounding puts outside of [0, 1] is clipped."""
    return (probabilities * LEVELS).clamp_(0, LEVELS - 1).to(torch.uint8)
