"""Config keys that make the models of this project's configs tiny, for tests that do not need a good model."""

from typing import Any

# A deep but narrow network: ResNet-18 has 26 times as many weights to draw, to train and to write.
BACKBONE: dict[str, Any] = {
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.FPN.OUT_CHANNELS": 32,
}
SEMANTIC_HEAD: dict[str, Any] = {
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "MODEL.SEM_SEG_HEAD.ASP_REFINEMENT.BRANCH_DIM": 32,
}
# The scores of a model without training pass every low threshold: without limits each image has 100 masks.
DETECTOR: dict[str, Any] = {
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 64,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "TEST.DETECTIONS_PER_IMAGE": 10,
}
INPUT: dict[str, Any] = {
    "INPUT.MIN_SIZE_TRAIN": (51, 64),
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TRAIN": 128,
    "INPUT.MAX_SIZE_TEST": 128,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.DEVICE": "cpu",
}
TINY = {**BACKBONE, **SEMANTIC_HEAD, **DETECTOR, **INPUT}


def to_overrides(keys: dict[str, Any]) -> list[str]:
    """Return KEY VALUE ... as on a command line."""
    return [str(word) for item in keys.items() for word in item]
