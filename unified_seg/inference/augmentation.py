"""Test-time augmentation of unified models: one prediction from several views of an image.

Detectron2's GeneralizedRCNNWithTTA predicts instances alone, Mask2Former's semantic maps alone; a panoptic fusion needs
both.
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
from unified_seg.meta_arch.computation import to_plain_instances
from unified_seg.meta_arch.predictions import ImagePrediction
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap


def add_test_augmentation(cfg: CfgNode, model: nn.Module) -> tuple[CfgNode, nn.Module]:
    """Return the config and the model unchanged or, with TEST.AUG.ENABLED, those that average several views.

    The augmented model resizes images itself, each once from the original, so its config turns off resizing in the data
    pipeline.

    Raises:
        ConfigError: invalid TEST.AUG, or a model other than UnifiedSegmentor.
    """
    if not cfg.TEST.AUG.ENABLED:
        return cfg, model
    if not isinstance(model, UnifiedSegmentor):
        raise ConfigError(
            f"TEST.AUG.ENABLED: needs MODEL.META_ARCHITECTURE UnifiedSegmentor, got {type(model).__name__}"
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
    """A UnifiedSegmentor that combines its predictions for several views of each image; for inference only.

    Semantic map: the mean of the views' class probabilities at each pixel of the original image. Instances: the boxes
    of all views go through one more non-maximum suppression, then a mask is predicted in each view for every remaining
    box, and the masks are averaged. Panoptic map: the model's fusion of the two. With a single view the outputs are
    the model's own.

    Args:
        model: the plain model; outputs have its format.
        rule: makes the views of an image.
        nms_threshold: IoU above which only the best of two boxes of a class is kept.
        detections_per_image: maximum number of boxes; below 0 all are kept.
    """

    def __init__(self, model: UnifiedSegmentor, *, rule: ViewRule, nms_threshold: float, detections_per_image: int):
        super().__init__()
        self.model = model
        self.rule = rule
        self.nms_threshold = nms_threshold
        self.detections_per_image = detections_per_image

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the outputs of each image, as UnifiedSegmentor does.

        Args:
            batched_inputs: one dict per image: `image` (C, H, W) uint8, at its original size or another one; optionally
                `height` and `width` of the outputs.
        """
        return [self._infer(x) for x in batched_inputs]

    def _infer(self, x: dict[str, Any]) -> dict[str, Any]:
        image = x["image"]
        size = (image.shape[1], image.shape[2])
        views = self.rule.make_views(size)
        if len(views) == 1:
            output_size = {"height": x.get("height", size[0]), "width": x.get("width", size[1])}
            return self.model.inference([{"image": views[0].apply_image(image), **output_size}])[0]
        maps, found = [], []
        with _without_masks(self.model.roi_heads):
            for view in views:
                prediction = self.model.predict([{"image": view.apply_image(image)}])[0]
                if isinstance(prediction.semantic, LogitMap):
                    maps.append(replace(prediction.semantic.to_memory(), mirrored=view.mirrored))
                if prediction.instances is not None:
                    found.append(_move_to_image(prediction.instances, view, size))
        merged = self._merge(found) if found else None
        if merged is not None and getattr(self.model.roi_heads, "mask_on", True):
            merged.pred_masks = self._average_masks(image, views, merged)
        return self.model.finish(x, ImagePrediction(LogitEnsemble(maps) if maps else None, merged))

    def _merge(self, found: Sequence[Instances]) -> Instances:
        """Return the detections that remain after non-maximum suppression over all views, best first."""
        together = Instances.cat(list(found))
        boxes = together.pred_boxes.tensor
        kept = batched_nms(boxes, together.scores, together.pred_classes, self.nms_threshold)
        return together[kept if self.detections_per_image < 0 else kept[: self.detections_per_image]]

    def _average_masks(self, image: Tensor, views: Sequence[View], instances: Instances) -> Tensor:
        """Return the mean soft masks (N, 1, M, M) of these boxes over all views.

        Features are computed again, since those of all views together may exceed the memory.
        """
        masks = []
        if not len(instances):
            return instances.scores.new_zeros(0, 1, 1, 1)
        for view in views:
            with self.model.computing():
                _, features = self.model.extract([{"image": view.apply_image(image)}])
            moved = Instances(
                view.size,
                pred_boxes=Boxes(view.apply_boxes(instances.pred_boxes.tensor, instances.image_size)),
                pred_classes=instances.pred_classes,
            )
            with self.model.computing():
                (moved,) = self.model.roi_heads.forward_with_given_boxes(features, [moved])  # type: ignore[operator, union-attr]
            moved = to_plain_instances(moved)
            masks.append(moved.pred_masks.flip(3) if view.mirrored else moved.pred_masks)
        return torch.stack(masks).mean(0)


def _move_to_image(instances: Instances, view: View, image_size: tuple[int, int]) -> Instances:
    return Instances(
        image_size,
        pred_boxes=Boxes(view.invert_boxes(instances.pred_boxes.tensor, image_size)),
        scores=instances.scores,
        pred_classes=instances.pred_classes,
    )


@contextmanager
def _without_masks(roi_heads: Any) -> Iterator[None]:
    """Turn off the prediction of masks, as Detectron2's own test-time augmentation does for the views."""
    before = getattr(roi_heads, "mask_on", False)
    if before:
        roi_heads.mask_on = False
    try:
        yield
    finally:
        if before:
            roi_heads.mask_on = True
