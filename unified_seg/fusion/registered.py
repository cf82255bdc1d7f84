"""The registered fusions: they unpack Detectron2's Instances and call the functions beside them."""

from typing import Any, ClassVar

from detectron2.config import CfgNode, configurable
from detectron2.structures import Boxes, Instances
from torch import Tensor

from unified_seg.fusion.base import PANOPTIC_FUSION_REGISTRY, FusionResult, PanopticFusion, Probabilities
from unified_seg.fusion.evidence import SemanticEvidence, fuse_by_evidence
from unified_seg.fusion.score_order import merge_by_score
from unified_seg.fusion.semantic_guided import SemanticGuidedOptions, SemanticGuidedResult, fuse_semantic_guided
from unified_seg.ops.devices import upload
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.soft_masks import SoftMasks


@PANOPTIC_FUSION_REGISTRY.register()
class ScoreOrderFusion(PanopticFusion):
    """Kirillov's merge, see `merge_by_score`; it does not change labels and instances."""

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

    def __call__(
        self, labels: Tensor, instances: Instances, probabilities: Probabilities | None = None
    ) -> FusionResult:
        panoptic = merge_by_score(
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


@PANOPTIC_FUSION_REGISTRY.register()
class SemanticGuidedFusion(PanopticFusion):
    """The fusion of fusion_scheme, see `fuse_semantic_guided`; it refines the semantic map and the masks.

    The masks of kept instances become the pixels that they own, while their boxes stay the detector's; dropped
    instances keep their masks; instances found by the semantic map are appended. The field `found` marks the latter.
    """

    @configurable
    def __init__(self, *, class_table: ClassTable, options: SemanticGuidedOptions | None = None):
        self.class_table = class_table
        self.options = options or SemanticGuidedOptions()

    @classmethod
    def from_config(cls, cfg: CfgNode, class_table: ClassTable) -> dict[str, Any]:
        combine, fusion = cfg.MODEL.PANOPTIC_FPN.COMBINE, cfg.MODEL.PANOPTIC_FUSION
        options = SemanticGuidedOptions(
            score_threshold=combine.INSTANCES_CONFIDENCE_THRESH,
            overlap_threshold=combine.OVERLAP_THRESH,
            min_stuff_area=fusion.MIN_STUFF_AREA,
            min_segment_area=fusion.MIN_SEGMENT_AREA,
            connectivity=fusion.CONNECTIVITY,
        )
        return {"class_table": class_table, "options": options}

    def __call__(
        self, labels: Tensor, instances: Instances, probabilities: Probabilities | None = None
    ) -> FusionResult:
        fused = fuse_semantic_guided(
            labels, instances.pred_masks, instances.pred_classes, instances.scores, self.class_table, self.options
        )
        return _refine(instances, fused)


@PANOPTIC_FUSION_REGISTRY.register()
class EvidenceFusion(SemanticGuidedFusion):
    """The fusion of masks and semantic map by how sure and how fine they are, see `fuse_by_evidence`.

    Instances change as in `SemanticGuidedFusion`. Without probabilities labels and masks count as certain.
    """

    needs_probabilities: ClassVar[bool] = True

    def __call__(
        self, labels: Tensor, instances: Instances, probabilities: Probabilities | None = None
    ) -> FusionResult:
        if probabilities is None:
            semantic, masks = SemanticEvidence.from_labels(labels), SoftMasks.from_masks(instances.pred_masks)
        else:
            semantic = SemanticEvidence.from_map(probabilities.semantic, labels, self.class_table)
            masks = probabilities.masks
        things, scores = instances.pred_classes, instances.scores
        fused = fuse_by_evidence(semantic, instances.pred_masks, masks, things, scores, self.class_table, self.options)
        return _refine(instances, fused)


def _refine(instances: Instances, fused: SemanticGuidedResult) -> FusionResult:
    """Return the result with the refined instances, and boxes of the found ones."""
    boxes = instances.pred_boxes.tensor
    found_boxes = Boxes(upload(fused.masks.windows[len(instances) :].to(boxes.dtype), boxes.device))
    refined = Instances(
        instances.image_size,
        pred_boxes=Boxes.cat([instances.pred_boxes, found_boxes]),
        pred_classes=fused.thing_ids,
        scores=fused.scores,
        pred_masks=fused.masks,
        found=fused.found,
    )
    return FusionResult(fused.panoptic, fused.labels, refined)
