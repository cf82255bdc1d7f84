"""From raw predictions to the outputs of one image, in one of two forms.

"detectron2": `sem_seg` (K, H, W) logits; `instances` with `pred_masks` (N, H, W) bool; `panoptic_seg`.
"compact":    `sem_seg_labels` (H, W); `instances` with `pred_masks` a BoxMasks; `panoptic_seg`; and, where the fusion
              refines, `unfused`: a dict with the `sem_seg_labels` and the `instances` from before the fusion; and,
              if the semantic head has further maps, `semantic_maps`, a dict of CellMaps, and
              `semantic_logit_maps`, a dict of LogitMaps.

Both hold the same predictions: labels are the argmax of the logits, and the pasted masks are the full ones.
(H, W) = the original image, N = instances, K = classes.
"""

from typing import Any

from detectron2.structures import Instances
from torch import Tensor

from unified_seg.fusion.base import PanopticFusion, Probabilities
from unified_seg.meta_arch.predictions import ImagePrediction
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.soft_masks import SoftMasks

OUTPUT_FORMATS = ("detectron2", "compact")


def finish_image(
    prediction: ImagePrediction, *, output_size: tuple[int, int], fusion: PanopticFusion | None, output_format: str
) -> dict[str, Any]:
    """Return the outputs of one image.

    Args:
        prediction: of the parts of the model.
        output_size: (H, W).
        fusion: joins labels and instances if there are both.
        output_format: one of OUTPUT_FORMATS.
    """
    compact = output_format == "compact"
    outputs: dict[str, Any] = {}
    semantic, instances = prediction.semantic, prediction.instances
    needs_more = fusion is not None and fusion.needs_probabilities
    soft_masks = None
    if instances is not None:
        instances, soft_masks = rescale_instances(instances, output_size, keep_soft=needs_more)
    if semantic is not None and (needs_more or not compact):
        semantic = semantic.to_memory()  # more than the labels is read
    labels = None
    if semantic is not None and (compact or fusion is not None):
        labels = semantic.labels(output_size)
    unfused: dict[str, Any] = {}
    if fusion is not None and semantic is not None and labels is not None and instances is not None:
        more = () if soft_masks is None else (Probabilities(semantic, soft_masks),)
        fused = fusion(labels, instances, *more)
        if fused.labels is not labels:
            unfused = {"sem_seg_labels": labels, "instances": instances}
        labels, instances = fused.labels, fused.instances
        outputs["panoptic_seg"] = (fused.panoptic.ids, fused.panoptic.segments_info)
    if compact and labels is not None:
        outputs["sem_seg_labels"] = labels
        if unfused:
            outputs["unfused"] = unfused
        if prediction.maps:
            outputs["semantic_maps"] = dict(prediction.maps)
        if prediction.logit_maps:
            outputs["semantic_logit_maps"] = dict(prediction.logit_maps)
    elif semantic is not None:
        outputs["sem_seg"] = semantic.logits(output_size)
        if unfused and labels is not None:
            _swap_logits(outputs["sem_seg"], unfused["sem_seg_labels"], labels)
    if instances is not None:
        if not compact and instances.has("pred_masks"):
            instances.pred_masks = instances.pred_masks.full()
        outputs["instances"] = instances
    return outputs


def _swap_logits(logits: Tensor, before: Tensor, after: Tensor) -> None:
    """Swap the logits of old and new class where the fusion changed a label, so that their argmax is the new one."""
    rows, columns = (before != after).nonzero(as_tuple=True)
    old, new = before[rows, columns].long(), after[rows, columns].long()
    winners, losers = logits[old, rows, columns], logits[new, rows, columns]
    logits[new, rows, columns], logits[old, rows, columns] = winners, losers


def rescale_instances(
    instances: Instances, output_size: tuple[int, int], keep_soft: bool = False
) -> tuple[Instances, SoftMasks | None]:
    """Bring instances to the original image and binarize their masks inside their boxes.

    Args:
        instances: with `pred_boxes`, and `pred_masks` (N, 1, M, M) probabilities if there are masks.
        output_size: (H, W).
        keep_soft: return the soft masks too.

    Returns:
        Instances of that size, without those with an empty box; `pred_masks` is a BoxMasks. And their soft masks, if
        they have masks and these are kept, else None.
    """
    height, width = output_size
    scale_y, scale_x = height / instances.image_size[0], width / instances.image_size[1]
    result = Instances(output_size, **instances.get_fields())
    result.pred_boxes = result.pred_boxes.clone()
    result.pred_boxes.scale(scale_x, scale_y)
    result.pred_boxes.clip(output_size)
    # Indices instead of a mask: an accelerator would have to be waited for once for each field.
    result = result[result.pred_boxes.nonempty().nonzero()[:, 0]]
    soft_masks = None
    if result.has("pred_masks"):
        pasted = (result.pred_masks[:, 0], result.pred_boxes.tensor, output_size)
        soft_masks = SoftMasks.from_soft(*pasted) if keep_soft else None
        result.pred_masks = BoxMasks.from_soft(*pasted) if soft_masks is None else soft_masks.binarize()
    return result, soft_masks
