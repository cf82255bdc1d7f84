"""The semantic-guided fusion of fusion_scheme as a fusion."""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, Instances
from torch import Tensor

from unified_seg.fusion.base import PANOPTIC_FUSION_REGISTRY, FusionResult, PanopticFusion
from unified_seg.fusion.panoptic import check_options, semantic_guided_fusion
from unified_seg.structures.class_table import ClassTable


@PANOPTIC_FUSION_REGISTRY.register()
class SemanticGuidedFusion(PanopticFusion):
    """See `semantic_guided_fusion` for the method and the arguments.

    It refines the semantic map and the masks, in place of the detector's: those of kept instances become the pixels
    that they own (their boxes stay the detector's), dropped ones keep theirs, and instances found by the semantic map
    are appended. The instances get a field `found`.

    Raises:
        ValueError: options out of range.
    """

    @configurable
    def __init__(
        self,
        *,
        class_table: ClassTable,
        score_threshold: float = 0.5,
        overlap_threshold: float = 0.5,
        min_stuff_area: float = 0.002,
        min_segment_area: float = 0.0005,
        connectivity: int = 4,
    ):
        self.class_table = class_table
        self.options: dict[str, Any] = {
            "score_threshold": score_threshold,
            "overlap_threshold": overlap_threshold,
            "min_stuff_area": min_stuff_area,
            "min_segment_area": min_segment_area,
            "connectivity": connectivity,
        }
        check_options(**self.options)

    @classmethod
    def from_config(cls, cfg: CfgNode, class_table: ClassTable) -> dict[str, Any]:
        combine, fusion = cfg.MODEL.PANOPTIC_FPN.COMBINE, cfg.MODEL.PANOPTIC_FUSION
        return {
            "class_table": class_table,
            "score_threshold": combine.INSTANCES_CONFIDENCE_THRESH,
            "overlap_threshold": combine.OVERLAP_THRESH,
            "min_stuff_area": fusion.MIN_STUFF_AREA,
            "min_segment_area": fusion.MIN_SEGMENT_AREA,
            "connectivity": fusion.CONNECTIVITY,
        }

    def __call__(self, labels: Tensor, instances: Instances) -> FusionResult:
        fused = semantic_guided_fusion(
            labels,
            instances.pred_masks,
            instances.pred_classes,
            instances.scores,
            self.class_table,
            **self.options,
        )
        found_boxes = Boxes(fused.masks.windows[fused.found].to(instances.pred_boxes.tensor))
        refined = Instances(
            instances.image_size,
            pred_boxes=Boxes.cat([instances.pred_boxes, found_boxes]),
            pred_classes=fused.thing_ids,
            scores=fused.scores,
            pred_masks=fused.masks,
            found=fused.found,
        )
        return FusionResult(fused.panoptic, fused.labels, refined)
