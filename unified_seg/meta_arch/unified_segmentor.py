"""The one model: a backbone, an optional detector, an optional semantic head, an optional panoptic fusion."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.modeling import (
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_proposal_generator,
    build_roi_heads,
)
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from unified_seg.backbones import freeze_bn_statistics
from unified_seg.data.datasets.classes import dataset_classes, resolve_dataset_classes
from unified_seg.data.pipeline.mapper import make_instances
from unified_seg.fusion import PanopticFusion, build_panoptic_fusion
from unified_seg.heads import SemanticHead, build_semantic_head
from unified_seg.meta_arch.freezing import FreezableModel, learns
from unified_seg.meta_arch.outputs import OUTPUT_FORMATS, finish_image
from unified_seg.meta_arch.predictions import ImagePrediction, cell_maps_of, logit_maps_of, valid_pixels
from unified_seg.ops.windows import SlidingWindows
from unified_seg.structures.cell_map import CellMap
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitEnsemble, LogitMap

Batch = list[dict[str, Any]]


@META_ARCH_REGISTRY.register()
class UnifiedSegmentor(FreezableModel):
    """Wires the parts together; every part but the backbone may be absent, as long as one has something to say.

    Args:
        backbone: gives maps by name.
        proposal_generator: the detector's first stage (RPN), together with `roi_heads`.
        roi_heads: the detector's second stage.
        sem_seg_head: a semantic head.
        panoptic_fusion: joins the two; needs both, with masks.
        class_table: the meaning of the ids.
        pixel_mean, pixel_std: of the input's channels, in their order.
        input_format: order of the input's channels, "BGR" or "RGB" (read by pictures of the input).
        output_format: "detectron2" or "compact", see `outputs`.
        window_size: in inference the semantic head sees larger images in square windows of this side, pixels, a
            multiple of the network's stride; 0 = every image at once.
        window_overlap: share of a window that the next one covers again, at least; 0 <= overlap < 1.
        train_parts: paths of the modules that train, see `train_only`; () = all.

    Raises:
        ValueError: a combination of parts that can't work.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: nn.Module | None = None,
        roi_heads: nn.Module | None = None,
        sem_seg_head: SemanticHead | None = None,
        panoptic_fusion: PanopticFusion | None = None,
        class_table: ClassTable,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        input_format: str = "BGR",
        output_format: str = "detectron2",
        window_size: int = 0,
        window_overlap: float = 1 / 3,
        train_parts: Sequence[str] = (),
    ):
        super().__init__()
        if (proposal_generator is None) != (roi_heads is None):
            raise ValueError("a detector needs both MODEL.PROPOSAL_GENERATOR.NAME and MODEL.ROI_HEADS.NAME, or neither")
        if roi_heads is None and sem_seg_head is None:
            raise ValueError("the model has neither a detector nor a semantic head: nothing to learn")
        if panoptic_fusion is not None and (roi_heads is None or sem_seg_head is None):
            raise ValueError("MODEL.PANOPTIC_FUSION.NAME needs a detector and a semantic head")
        if panoptic_fusion is not None and not getattr(roi_heads, "mask_on", True):
            raise ValueError("MODEL.PANOPTIC_FUSION.NAME needs masks: set MODEL.MASK_ON")
        if output_format not in OUTPUT_FORMATS:
            raise ValueError(f"MODEL.UNIFIED.OUTPUT: {output_format!r} is not one of {', '.join(OUTPUT_FORMATS)}")
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        self.sem_seg_head = sem_seg_head
        self.panoptic_fusion = panoptic_fusion
        self.class_table = class_table
        self.input_format = input_format
        # A plain ResNet asks for no padding, but logits of stride s are upsampled to a multiple of s.
        divisibility = 1 if sem_seg_head is None else sem_seg_head.size_divisibility
        self.size_divisibility = math.lcm(max(backbone.size_divisibility, 1), divisibility)
        self.output_format = output_format
        self.windows = _windows(window_size, window_overlap, self.size_divisibility)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.train_only(train_parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = resolve_dataset_classes(cfg)
        table = dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        if cfg.MODEL.ROI_HEADS.NAME and not table.num_things:
            raise ValueError(
                f"{cfg.DATASETS.TRAIN[0]} has no things to detect: leave the detector out, as "
                "configs/base/semantic_only.yaml does"
            )
        backbone = build_backbone(cfg)
        if cfg.MODEL.BACKBONE.FREEZE_BN_STATISTICS:
            # Of the pretrained part alone: an FPN on top of it starts from scratch and has no statistics to keep.
            freeze_bn_statistics(getattr(backbone, "bottom_up", backbone))
        shape = backbone.output_shape()
        model = cfg.MODEL
        return {
            "backbone": backbone,
            "proposal_generator": build_proposal_generator(cfg, shape) if model.PROPOSAL_GENERATOR.NAME else None,
            "roi_heads": build_roi_heads(cfg, shape) if model.ROI_HEADS.NAME else None,
            "sem_seg_head": build_semantic_head(cfg, shape) if model.SEM_SEG_HEAD.NAME else None,
            "panoptic_fusion": build_panoptic_fusion(cfg, table) if model.PANOPTIC_FUSION.NAME else None,
            "class_table": table,
            "pixel_mean": model.PIXEL_MEAN,
            "pixel_std": model.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
            "output_format": model.UNIFIED.OUTPUT,
            "window_size": cfg.TEST.WINDOW.SIZE,
            "window_overlap": cfg.TEST.WINDOW.OVERLAP,
            "train_parts": cfg.SOLVER.TRAIN_PARTS,
        }

    def training_order(self) -> list[list[str]]:
        """The backbone and what the semantic head's first part is, then the head's further parts one by one."""
        parts = self.sem_seg_head.training_order() if self.sem_seg_head is not None else []
        first, *others = [[f"sem_seg_head.{part}".rstrip(".")] for part in parts] or [[]]
        return [["backbone", *first], *others]

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device  # type: ignore[return-value]

    def forward(self, batched_inputs: Batch) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Detectron2's contract: weighted losses by name in training, one dict of outputs an image in inference.

        Args:
            batched_inputs: one dict an image: `image` (C, H, W); in training `sem_seg` (H, W) int64 for a semantic
                head and, where they are known, `instances` for a detector; in inference `height` and `width` of the
                original image.
        """
        return self.losses(batched_inputs) if self.training else self.inference(batched_inputs)

    def losses(self, batched_inputs: Batch) -> dict[str, Tensor]:
        """The weighted loss terms of a batch, of the parts that they can teach.

        The detector learns of the images whose instances are known; of all others it isn't said that they have none.
        A frozen semantic head still teaches the backbone, a frozen detector doesn't: it is in inference mode.

        Raises:
            ValueError: there is none.
        """
        images, features = self.extract(batched_inputs)
        losses: dict[str, Tensor] = {}
        if self.sem_seg_head is not None and learns(self.backbone, self.sem_seg_head):
            prediction = self.sem_seg_head.predict(self._head_features(images, features))
            losses.update(self.sem_seg_head.losses(prediction, self._semantic_targets(batched_inputs)))
        losses.update(self._detector_losses(images, features, batched_inputs))
        if not losses:
            raise ValueError("no part of the model has a loss: nothing that SOLVER.TRAIN_PARTS trains depends on one")
        return losses

    def _detector_losses(
        self, images: ImageList, features: dict[str, Tensor], batched_inputs: Batch
    ) -> dict[str, Tensor]:
        first, second = self.proposal_generator, self.roi_heads
        if first is None or second is None or not learns(self.backbone, first, second):
            return {}
        if not (first.training or second.training):
            return {}
        labeled = [i for i, x in enumerate(batched_inputs) if "instances" in x]
        # With none the first image stands in at no weight, so that each process has all losses and gradients.
        chosen = labeled or [0]
        if len(chosen) < len(batched_inputs):
            images = ImageList(images.tensor[chosen], [images.image_sizes[i] for i in chosen])
            features = {name: feature[chosen] for name, feature in features.items()}
        given = [batched_inputs[i]["instances"] for i in labeled] or [make_instances([], [], images.image_sizes[0])]
        ground_truth = [instances.to(self.device) for instances in given]
        proposals, losses = first(images, features, ground_truth)
        if second.training:
            losses = {**losses, **second(images, features, proposals, ground_truth)[1]}
        return losses if labeled else {name: 0 * loss for name, loss in losses.items()}

    def inference(self, batched_inputs: Batch) -> list[dict[str, Any]]:
        """The outputs of each image of a batch, at the size of the original image."""
        return [self.finish(x, *said) for x, said in zip(batched_inputs, self.predict(batched_inputs))]

    def predict(self, batched_inputs: Batch) -> list[ImagePrediction]:
        """What the semantic head and the detector say of each image of a batch.

        Semantic maps of images larger than the window are run when they are read.
        """
        semantic: list[LogitMap | None] = [None] * len(batched_inputs)
        instances: list[Instances | None] = [None] * len(batched_inputs)
        maps: list[dict[str, CellMap]] = [{}] * len(batched_inputs)
        logit_maps: list[dict[str, LogitMap]] = [{}] * len(batched_inputs)
        in_windows = self.sem_seg_head is not None and any(self._exceeds_window(x["image"]) for x in batched_inputs)
        if in_windows:
            semantic = [self._semantic_in_windows(x["image"]) for x in batched_inputs]
        if not in_windows or self.roi_heads is not None:
            images, features = self.extract(batched_inputs)
            if self.sem_seg_head is not None and not in_windows:
                stride = self.sem_seg_head.common_stride
                said = self.sem_seg_head.predict(self._head_features(images, features))
                semantic = [LogitMap.whole(each, stride, size) for each, size in zip(said.logits, images.image_sizes)]
                if self.output_format == "compact":
                    maps = cell_maps_of(self.sem_seg_head.describe(said), images)
                    logit_maps = logit_maps_of(self.sem_seg_head.logit_maps(said), images)
            if self.proposal_generator is not None and self.roi_heads is not None:
                proposals, _ = self.proposal_generator(images, features, None)
                instances, _ = self.roi_heads(images, features, proposals, None)
        return [ImagePrediction(*said) for said in zip(semantic, instances, maps, logit_maps)]

    def finish(
        self,
        x: dict[str, Any],
        semantic: LogitMap | LogitEnsemble | None,
        instances: Instances | None,
        maps: Mapping[str, CellMap] | None = None,
        logit_maps: Mapping[str, LogitMap] | None = None,
    ) -> dict[str, Any]:
        """The outputs of an image of which the parts of the model say this.

        Args:
            x: the image's element of the batch.
            semantic, instances, maps, logit_maps: as of `finish_image`.
        """
        height, width = x["image"].shape[-2:]
        return finish_image(
            semantic,
            instances,
            maps,
            logit_maps,
            output_size=(x.get("height", height), x.get("width", width)),
            fusion=self.panoptic_fusion,
            output_format=self.output_format,
        )

    def extract(self, batched_inputs: Batch) -> tuple[ImageList, dict[str, Tensor]]:
        """Normalize and pad the images, and run the backbone."""
        images = [(x["image"].to(self.device) - self.pixel_mean).div_(self.pixel_std) for x in batched_inputs]
        image_list = ImageList.from_tensors(images, self.size_divisibility)
        return image_list, self.backbone(image_list.tensor)

    def _exceeds_window(self, image: Tensor) -> bool:
        return self.windows is not None and max(image.shape[-2:]) > self.windows.size

    def _semantic_in_windows(self, image: Tensor) -> LogitMap:
        assert self.windows is not None and self.sem_seg_head is not None
        predict = partial(self._predict_window, image)
        stride = self.sem_seg_head.common_stride
        return LogitMap.in_windows(predict, self.windows, stride, (image.shape[-2], image.shape[-1]))

    @torch.no_grad()
    def _predict_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """The logits (K, r, c) of a window; where it reaches over the image's end it is padded as a small image is."""
        assert self.sem_seg_head is not None
        images, features = self.extract([{"image": image[:, rows, columns]}])
        return self.sem_seg_head.predict(self._head_features(images, features)).logits[0]

    def _head_features(self, images: ImageList, features: dict[str, Tensor]) -> dict[str, Tensor]:
        head = self.sem_seg_head
        if head is not None and head.needs_image:
            features = {**features, "image": images.tensor}
        if head is not None and head.needs_valid:
            features = {**features, "valid": valid_pixels(images)}
        return features

    def _semantic_targets(self, batched_inputs: Batch) -> Tensor:
        """(N, H, W), padded with the label that no loss looks at."""
        assert self.sem_seg_head is not None
        targets = [x["sem_seg"].to(self.device) for x in batched_inputs]
        ignore = self.sem_seg_head.ignore_value
        return ImageList.from_tensors(targets, self.size_divisibility, ignore).tensor


def _windows(size: int, overlap: float, step: int) -> SlidingWindows | None:
    try:
        return SlidingWindows(size, overlap, step) if size else None
    except ValueError as error:
        raise ValueError(f"TEST.WINDOW: {error}") from None
