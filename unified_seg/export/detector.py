"""Detectron2's Mask R-CNN for exporters: boxes in, tensors out, with the same results.

Detectron2's own inference makes objects and asks tensors for their values, which a graph can't hold.

N = images, L = levels of features, R = proposals, M = detections, T = thing classes, S = the side of a soft mask.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import Boxes
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from unified_seg.export.errors import UnsupportedExportError


class ExportableDetector(nn.Module):
    """Detectron2's RPN and StandardROIHeads in inference.

    Args:
        rpn: the first stage.
        roi_heads: the second stage.

    Raises:
        UnsupportedExportError: other parts than Detectron2's own.
    """

    # Detectron2's classes have few annotations.
    rpn: Any
    roi_heads: Any

    def __init__(self, rpn: nn.Module, roi_heads: nn.Module):
        super().__init__()
        _check_parts(rpn, roi_heads)
        self.rpn = rpn
        self.roi_heads = roi_heads
        self.has_masks = bool(self.roi_heads.mask_on)

    def forward(self, features: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
        """Return the detections of all images, those of an image by falling score.

        Args:
            features: of the backbone.
            sizes: (N, 2) int64, height and width of each image without padding.

        Returns:
            `boxes` (M, 4) float32, x0, y0, x1, y1 in pixels of the input; `scores` (M,) float32; `classes` (M,) int64,
            thing ids; `image_index` (M,) int64; `masks` (M, S, S) float32, probabilities, if the detector has masks.
        """
        limits = sizes.flip(1).repeat(1, 2).to(torch.float32)  # width, height, width, height
        proposals, owner = self._propose(features, limits)
        boxes, scores, classes, owner = self._detect(features, proposals, owner, limits)
        detections = {"boxes": boxes, "scores": scores, "classes": classes, "image_index": owner}
        if self.has_masks:
            detections["masks"] = self._predict_masks(features, boxes, classes, owner)
        return detections

    def _propose(self, features: dict[str, Tensor], limits: Tensor) -> tuple[Tensor, Tensor]:
        """Return proposals (R, 4) and the image (R,) of each."""
        rpn, count = self.rpn, self.rpn.pre_nms_topk[False]
        maps = [features[name] for name in rpn.in_features]
        all_scores, all_boxes = [], []
        for anchors, logits, deltas in zip(_make_anchors(rpn.anchor_generator, maps), *rpn.rpn_head(maps)):
            images, _, height, width = logits.shape
            scores = logits.permute(0, 2, 3, 1).flatten(1)
            deltas = deltas.view(images, -1, 4, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)
            # The number of results of topk must not depend on the size, so there are enough for the smallest.
            scores, index = torch.cat([scores, scores.new_full((images, count), -torch.inf)], dim=1).topk(count)
            deltas, anchors = F.pad(deltas, (0, 0, 0, count)), F.pad(anchors, (0, 0, 0, count))
            deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4)).flatten(0, 1)
            boxes = rpn.box2box_transform.apply_deltas(deltas, anchors[index.flatten()])
            all_scores.append(scores)
            all_boxes.append(boxes.view(images, count, 4))
        scores, boxes = torch.cat(all_scores, dim=1), torch.cat(all_boxes, dim=1)
        level = torch.arange(len(maps), device=scores.device).repeat_interleave(count)
        valid = boxes.isfinite().all(2) & scores.isfinite()
        boxes = torch.minimum(boxes.nan_to_num().clamp(min=0), limits[:, None])
        valid = valid & (boxes[..., 2:] - boxes[..., :2] > rpn.min_box_size).all(2)
        chosen, owners = [], []
        for image in range(scores.shape[0]):
            index = valid[image].nonzero()[:, 0]
            candidates = boxes[image][index]
            kept = _suppress(candidates, scores[image][index], level[index], limits, rpn.nms_thresh)
            chosen.append(candidates[kept[: rpn.post_nms_topk[False]]])
            owners.append(torch.full_like(chosen[-1][:, 0], image, dtype=torch.int64))
        return torch.cat(chosen), torch.cat(owners)

    def _detect(
        self, features: dict[str, Tensor], proposals: Tensor, owner: Tensor, limits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return boxes (M, 4), scores, thing ids and images (M,)."""
        heads, predictor = self.roi_heads, self.roi_heads.box_predictor
        proposals, owner = _add_row(proposals), _add_row(owner)
        maps = [features[name] for name in heads.box_in_features]
        logits, deltas = predictor(heads.box_head(_pool(heads.box_pooler, maps, proposals, owner)))
        probabilities = logits.sigmoid() if getattr(predictor, "use_sigmoid_ce", False) else logits.softmax(-1)
        boxes = predictor.box2box_transform.apply_deltas(deltas, proposals)
        valid = (boxes.isfinite().all(1) & probabilities.isfinite().all(1))[:-1, None]
        found = (valid & (probabilities[:-1, :-1] > predictor.test_score_thresh)).nonzero()
        row, classes = found.unbind(1)
        boxes = boxes.view(boxes.shape[0], -1, 4)
        boxes = boxes[row, classes if boxes.shape[1] > 1 else torch.zeros_like(classes)]
        scores, owner = probabilities[row, classes], owner[row]
        boxes = torch.minimum(boxes.clamp(min=0), limits[owner])
        chosen = []
        for image in range(limits.shape[0]):
            index = (owner == image).nonzero()[:, 0]
            kept = _suppress(boxes[index], scores[index], classes[index], limits, predictor.test_nms_thresh)
            chosen.append(index[kept[: predictor.test_topk_per_image]])
        index = torch.cat(chosen)
        return boxes[index], scores[index], classes[index], owner[index]

    def _predict_masks(self, features: dict[str, Tensor], boxes: Tensor, classes: Tensor, owner: Tensor) -> Tensor:
        """Return (M, S, S)."""
        heads = self.roi_heads
        maps = [features[name] for name in heads.mask_in_features]
        logits = heads.mask_head.layers(_pool(heads.mask_pooler, maps, _add_row(boxes), _add_row(owner)))[:-1]
        if logits.shape[1] == 1:
            return logits[:, 0].sigmoid()
        index = classes[:, None, None, None].expand(-1, 1, logits.shape[2], logits.shape[3])
        return logits.gather(1, index)[:, 0].sigmoid()


def _check_parts(rpn: Any, roi_heads: Any) -> None:
    parts = [
        ("MODEL.PROPOSAL_GENERATOR.NAME", rpn, RPN),
        ("MODEL.ANCHOR_GENERATOR.NAME", getattr(rpn, "anchor_generator", None), DefaultAnchorGenerator),
        ("MODEL.ROI_HEADS.NAME", roi_heads, StandardROIHeads),
        ("MODEL.ROI_HEADS.NAME", getattr(roi_heads, "box_predictor", None), FastRCNNOutputLayers),
    ]
    if getattr(roi_heads, "mask_on", False):
        parts.append(("MODEL.ROI_MASK_HEAD.NAME", roi_heads.mask_head, MaskRCNNConvUpsampleHead))
    for key, part, expected in parts:
        if type(part) is not expected:
            raise UnsupportedExportError(
                f"{key}: {type(part).__name__} can't be exported, only Detectron2's {expected.__name__}"
            )
    if getattr(roi_heads, "keypoint_on", False):
        raise UnsupportedExportError("MODEL.KEYPOINT_ON: keypoints can't be exported; set it to False")


def _make_anchors(generator: Any, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the anchors of each level, (H * W * A, 4)."""
    anchors = []
    for cells, stride, map in zip(generator.cell_anchors, generator.strides, maps):
        rows, columns = (
            (torch.arange(length, device=map.device) + generator.offset) * stride for length in map.shape[-2:]
        )
        x, y = columns.expand(rows.shape[0], -1), rows[:, None].expand(-1, columns.shape[0])
        shifts = torch.stack([x, y, x, y], dim=2).to(cells.dtype)
        anchors.append((shifts.flatten(0, 1)[:, None] + cells).flatten(0, 1))
    return anchors


def _pool(pooler: ROIPooler, maps: Sequence[Tensor], boxes: Tensor, owner: Tensor) -> Tensor:
    """Return the features of boxes (R, 4) in the images (R,), (R, C, S, S)."""
    rois = torch.cat([owner[:, None].to(boxes.dtype), boxes], dim=1)
    if len(maps) == 1:
        return pooler.level_poolers[0](maps[0], rois)
    levels = assign_boxes_to_levels(
        [Boxes(boxes)], pooler.min_level, pooler.max_level, pooler.canonical_box_size, pooler.canonical_level
    )
    result = maps[0].new_zeros((rois.shape[0], maps[0].shape[1], *pooler.output_size))
    for level, (align, map) in enumerate(zip(pooler.level_poolers, maps)):
        index = (levels == level).nonzero()[:, 0]
        result = result.index_put((index,), align(map, rois[index]))
    return result


def _suppress(boxes: Tensor, scores: Tensor, group: Tensor, limits: Tensor, threshold: float) -> Tensor:
    """Return the indices of the boxes that non-maximum suppression in each group keeps, by falling score."""
    # Moved apart, boxes of different groups do not overlap.
    offset = group.to(boxes.dtype) * (limits.max() + 1)
    return nms(boxes + offset[:, None], scores, threshold)


def _add_row(values: Tensor) -> Tensor:
    """Append a row of zeros: a network can't be exported for an input that may have no row at all."""
    return torch.cat([values, values.new_zeros((1, *values.shape[1:]))])
