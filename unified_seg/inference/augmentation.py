"""Test-time augmentation of unified models: one answer from several views of an image.

Detectron2's GeneralizedRCNNWithTTA knows instances alone, Mask2Former's semantics alone; a panoptic fusion needs both.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from unified_seg.config import ConfigError
from unified_seg.inference.views import View, ViewRule
from unified_seg.meta_arch import UnifiedSegmentor
from unified_seg.meta_arch.predictions import ImagePrediction
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap


def with_augmentation(cfg: CfgNode, model: nn.Module) -> tuple[CfgNode, nn.Module]:
    """The config and the model to test with: those given, or, if TEST.AUG.ENABLED, those of augmented testing.

    The augmented model resizes images itself, each once from the original, so its config has the data pipeline leave
    them as they are.

    Raises:
        ConfigError: TEST.AUG that can't be used, or a model that is no UnifiedSegmentor.
    """
    if not cfg.TEST.AUG.ENABLED:
        return cfg, model
    if not isinstance(model, UnifiedSegmentor):
        raise ConfigError(
            f"TEST.AUG.ENABLED needs MODEL.META_ARCHITECTURE UnifiedSegmentor, and it is {type(model).__name__}"
        )
    augmented = AugmentedSegmentor(
        model,
        rule=ViewRule(cfg),
        nms_threshold=cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST,
        detections_per_image=cfg.TEST.DETECTIONS_PER_IMAGE,
    )
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.MIN_SIZE_TEST = 0
    return cfg, augmented


class AugmentedSegmentor(nn.Module):
    """A UnifiedSegmentor that looks at several views of each image before it answers; for inference only.

    Semantic: at each pixel of the original image the mean of the views' class probabilities. Instances: the boxes of
    all views go through one more non-maximum suppression, then each view gives a mask of every box that is left; the
    mask is their mean. Panoptic: the model's fusion of the two. A single view gives what the model says of it.

    Args:
        model: gives the outputs their form, too.
        rule: the views of an image.
        nms_threshold: of boxes of one class, the IoU above which only the best one stays.
        detections_per_image: at most so many boxes stay; below 0 all.
    """

    def __init__(self, model: UnifiedSegmentor, *, rule: ViewRule, nms_threshold: float, detections_per_image: int):
        super().__init__()
        self.model = model
        self.rule = rule
        self.nms_threshold = nms_threshold
        self.detections_per_image = detections_per_image

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As of UnifiedSegmentor in inference, but for the images.

        Args:
            batched_inputs: one dict an image: `image` (C, H, W) uint8, at its original size or another one; perhaps
                `height` and `width` of the answer.
        """
        return [self._infer(x) for x in batched_inputs]

    def _infer(self, x: dict[str, Any]) -> dict[str, Any]:
        image = x["image"]
        size = (image.shape[1], image.shape[2])
        views = self.rule.views(size)
        if len(views) == 1:
            answer_size = {"height": x.get("height", size[0]), "width": x.get("width", size[1])}
            return self.model.inference([{"image": views[0].of(image), **answer_size}])[0]
        maps, found = [], []
        with _without_masks(self.model.roi_heads):
            for view in views:
                prediction = self.model.predict([{"image": view.of(image)}])[0]
                if isinstance(prediction.semantic, LogitMap):
                    maps.append(replace(prediction.semantic.to_memory(), mirrored=view.mirrored))
                if prediction.instances is not None:
                    found.append(_from_view(prediction.instances, view, size))
        merged = self._merge(found) if found else None
        if merged is not None and getattr(self.model.roi_heads, "mask_on", True):
            merged.pred_masks = self._mean_masks(image, views, merged)
        return self.model.finish(x, ImagePrediction(LogitEnsemble(maps) if maps else None, merged))

    def _merge(self, found: Sequence[Instances]) -> Instances:
        """The detections of all views that survive one more non-maximum suppression, best first."""
        every = Instances.cat(list(found))
        kept = batched_nms(every.pred_boxes.tensor, every.scores, every.pred_classes, self.nms_threshold)
        return every[kept if self.detections_per_image < 0 else kept[: self.detections_per_image]]

    def _mean_masks(self, image: Tensor, views: Sequence[View], instances: Instances) -> Tensor:
        """(N, 1, M, M): the soft masks of these boxes. Features are made anew: those of all views may not fit."""
        masks = []
        if not len(instances):
            return instances.scores.new_zeros(0, 1, 1, 1)
        for view in views:
            _, features = self.model.extract([{"image": view.of(image)}])
            there = Instances(
                view.size,
                pred_boxes=Boxes(view.boxes_to(instances.pred_boxes.tensor, instances.image_size)),
                pred_classes=instances.pred_classes,
            )
            (there,) = self.model.roi_heads.forward_with_given_boxes(features, [there])  # type: ignore[operator, union-attr]
            masks.append(there.pred_masks.flip(3) if view.mirrored else there.pred_masks)
        return torch.stack(masks).mean(0)


def _from_view(instances: Instances, view: View, image_size: tuple[int, int]) -> Instances:
    return Instances(
        image_size,
        pred_boxes=Boxes(view.boxes_from(instances.pred_boxes.tensor, image_size)),
        scores=instances.scores,
        pred_classes=instances.pred_classes,
    )


@contextmanager
def _without_masks(roi_heads: Any) -> Iterator[None]:
    """Detections without their masks, as Detectron2's own test-time augmentation makes them."""
    before = getattr(roi_heads, "mask_on", False)
    if before:
        roi_heads.mask_on = False
    try:
        yield
    finally:
        if before:
            roi_heads.mask_on = True
