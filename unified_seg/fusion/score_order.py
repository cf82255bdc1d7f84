"""Kirillov's score-order merge as a fusion."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.structures import Instances
from torch import Tensor

from unified_seg.fusion.base import PANOPTIC_FUSION_REGISTRY, FusionResult, PanopticFusion
from unified_seg.fusion.panoptic import score_order_merge
from unified_seg.structures.class_table import ClassTable


@PANOPTIC_FUSION_REGISTRY.register()
class ScoreOrderFusion(PanopticFusion):
    """See `score_order_merge` for the method and the arguments; it leaves labels and instances as they are."""

    @configurable
    def __init__(
        self,
        *,
        class_table: ClassTable,
        score_threshold: float = 0.5,
        overlap_threshold: float = 0.5,
        stuff_area_limit: int = 4096,
    ):
        self.class_table = class_table
        self.score_threshold = score_threshold
        self.overlap_threshold = overlap_threshold
        self.stuff_area_limit = stuff_area_limit

    @classmethod
    def from_config(cls, cfg: CfgNode, class_table: ClassTable) -> dict[str, Any]:
        combine = cfg.MODEL.PANOPTIC_FPN.COMBINE
        return {
            "class_table": class_table,
            "score_threshold": combine.INSTANCES_CONFIDENCE_THRESH,
            "overlap_threshold": combine.OVERLAP_THRESH,
            "stuff_area_limit": combine.STUFF_AREA_LIMIT,
        }

    def __call__(self, labels: Tensor, instances: Instances) -> FusionResult:
        panoptic = score_order_merge(
            labels,
            instances.pred_masks,
            instances.pred_classes,
            instances.scores,
            self.class_table,
            score_threshold=self.score_threshold,
            overlap_threshold=self.overlap_threshold,
            stuff_area_limit=self.stuff_area_limit,
        )
        return FusionResult(panoptic, labels, instances)
