import pytest
from detectron2.config import CfgNode


@pytest.fixture
def eager_config(tiny_config: CfgNode) -> CfgNode:
    """The scores of an untrained detector are near 1 / (T + 1): with these thresholds there are many detections."""
    tiny_config.MODEL.UNIFIED.OUTPUT = "compact"
    tiny_config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    tiny_config.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.05
    tiny_config.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 4
    tiny_config.TEST.DETECTIONS_PER_IMAGE = 30
    tiny_config.TEST.AUG.ENABLED = True
    return tiny_config
