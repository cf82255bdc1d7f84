"""Numbers that no model can have or train with, refused when a config is resolved and named by their key.

Detectron2 and PyTorch end with an error far from the key, or go on: an image is divided by a PIXEL_STD of 0.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from detectron2.config import CfgNode

from unified_seg.config.keys import AUTO
from unified_seg.config.reading import get_value
from unified_seg.config.refused import ConfigError


class Range(NamedTuple):
    """The numbers that a key, or each element of its list, may have.

    Attributes:
        contains: whether a finite number is one of them.
        text: for messages.
    """

    contains: Callable[[float], bool]
    text: str


FINITE = Range(lambda value: True, "finite")
FROM_0 = Range(lambda value: value >= 0, "0 or more")
FROM_0_OR_AUTO = Range(lambda value: value == AUTO or value >= 0, "0 or more, or -1")
FROM_1 = Range(lambda value: value >= 1, "1 or more")
ABOVE_0 = Range(lambda value: value > 0, "above 0")
SHARE = Range(lambda value: 0 <= value <= 1, "in [0, 1]")
BELOW_1 = Range(lambda value: 0 <= value < 1, "in [0, 1)")

#: Keys whose values nothing else checks; those of a part of the model are checked where it is built.
RANGES = {
    "DATALOADER.NUM_WORKERS": FROM_0,
    "DATASETS.MAX_UNREADABLE": FROM_0,
    "INPUT.MAX_PIXELS": FROM_1,
    "INPUT.MAX_SIZE_TEST": FROM_1,
    "INPUT.MAX_SIZE_TRAIN": FROM_1,
    "INPUT.MIN_SIZE_TEST": FROM_0,
    "MODEL.FPN.OUT_CHANNELS": FROM_1,
    "MODEL.PIXEL_MEAN": FINITE,
    "MODEL.PIXEL_STD": ABOVE_0,
    "MODEL.RESNETS.NUM_GROUPS": FROM_1,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": FROM_1,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": FROM_1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": FROM_1,
    "MODEL.ROI_BOX_HEAD.FC_DIM": FROM_1,
    "MODEL.ROI_BOX_HEAD.NUM_FC": FROM_0,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": FROM_1,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": FROM_1,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": SHARE,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": FROM_1,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": FROM_0,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": FROM_1,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": FROM_1,
    "MODEL.RPN.POSITIVE_FRACTION": SHARE,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": FROM_1,
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": FROM_0,
    "SOLVER.BASE_LR": FROM_0,
    "SOLVER.MOMENTUM": BELOW_1,
    "SOLVER.WARMUP_FACTOR": FROM_0,
    "SOLVER.WARMUP_ITERS": FROM_0_OR_AUTO,
    "SOLVER.WEIGHT_DECAY": FROM_0,
    "SOLVER.WEIGHT_DECAY_NORM": FROM_0,
    "TEST.IMAGES_AT_ONCE": FROM_0,
}


def check_ranges(cfg: CfgNode) -> None:
    """Raise ConfigError for a number that is out of its range, see `RANGES`."""
    for key, allowed in RANGES.items():
        value: Any = get_value(cfg, key)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if not all(math.isfinite(number) and allowed.contains(number) for number in numbers):
            raise ConfigError(f"{key}: must be {allowed.text}, got {value!r}")
