"""The one model: a backbone, an optional detector, an optional semantic head, an optional panoptic fusion."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.modeling import (
    FPN,
    META_ARCH_REGISTRY,
    Backbone,
    build_backbone,
    build_proposal_generator,
    build_roi_heads,
)
from detectron2.structures import ImageList
from torch import Tensor, nn

from unified_seg.backbones import freeze_bn_statistics
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.pipeline.instances import make_instances
from unified_seg.data.resolve import resolve_config
from unified_seg.fusion import PanopticFusion, build_panoptic_fusion
from unified_seg.heads import HeadInputs, SemanticHead, build_semantic_head
from unified_seg.hints import format_hint
from unified_seg.meta_arch.computation import (
    choose_memory_format,
    compute_in,
    pool_exactly,
    to_plain,
    to_plain_instances,
    uses_bfloat16,
)
from unified_seg.meta_arch.freezing import FreezableModel, has_trainable
from unified_seg.meta_arch.outputs import OUTPUT_FORMATS, finish_image
from unified_seg.meta_arch.predictions import ImagePrediction, cut_cell_maps, cut_logit_maps, mask_valid
from unified_seg.ops.devices import upload
from unified_seg.ops.windows import SlidingWindows
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap

Batch = list[dict[str, Any]]

# Overrides that leave the detector out, and with it what needs it.
WITHOUT_DETECTOR = (
    *("MODEL.PROPOSAL_GENERATOR.NAME", "", "MODEL.ROI_HEADS.NAME", ""),
    *("MODEL.MASK_ON", False, "MODEL.PANOPTIC_FUSION.NAME", ""),
)


@META_ARCH_REGISTRY.register()
class UnifiedSegmentor(FreezableModel):
    """A backbone with the parts that are wired to it; at least one of detector and semantic head is required.

    Args:
        backbone: returns maps by name.
        proposal_generator: the detector's first stage (RPN), together with `roi_heads`.
        roi_heads: the detector's second stage.
        sem_seg_head: a semantic head.
        panoptic_fusion: joins the predictions of both, which need masks.
        class_table: the classes.
        pixel_mean, pixel_std: of the input's channels, in their order.
        input_format: order of the input's channels, "BGR" or "RGB" (read by pictures of the input).
        output_format: "detectron2" or "compact", see `outputs`.
        window_size: side in pixels of the square windows in which the semantic head processes larger images in
            inference, a multiple of the network's stride; 0 = whole images.
        window_overlap: smallest share of a window that the next one covers again, in [0, 1).
        train_parts: paths of the modules that are trained, see `train_only`; () = all.
        memory_format: of the maps in the network and of the weights of convolutions.
        bfloat16: compute in bfloat16, on a CPU; outputs are float32.

    Attributes:
        keeps_logits: whether compact outputs have `semantic_logits`, the LogitMap or LogitEnsemble of the semantic map
            before the fusion, for programs that read probabilities; False at first.

    Raises:
        ValueError: parts that do not go together.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

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
        memory_format: torch.memory_format = torch.contiguous_format,
        bfloat16: bool = False,
    ):
        super().__init__()
        if (proposal_generator is None) != (roi_heads is None):
            detector = ("MODEL.PROPOSAL_GENERATOR.NAME", "RPN", "MODEL.ROI_HEADS.NAME", "StandardROIHeads")
            raise ValueError(
                "MODEL.PROPOSAL_GENERATOR.NAME and MODEL.ROI_HEADS.NAME: set both, such as "
                f"{format_hint(*detector)}, or neither: {format_hint(*WITHOUT_DETECTOR)}"
            )
        if roi_heads is None and sem_seg_head is None:
            raise ValueError(
                "MODEL.ROI_HEADS.NAME, MODEL.SEM_SEG_HEAD.NAME: at least one of detector and semantic head is required"
            )
        if panoptic_fusion is not None and (roi_heads is None or sem_seg_head is None):
            raise ValueError("MODEL.PANOPTIC_FUSION.NAME needs a detector and a semantic head")
        if panoptic_fusion is not None and not getattr(roi_heads, "mask_on", True):
            raise ValueError("MODEL.PANOPTIC_FUSION.NAME needs masks: set " + format_hint("MODEL.MASK_ON", True))
        if output_format not in OUTPUT_FORMATS:
            raise ValueError(f"MODEL.UNIFIED.OUTPUT must be one of {', '.join(OUTPUT_FORMATS)}, got {output_format!r}")
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        if roi_heads is not None:
            pool_exactly(roi_heads)
        self.sem_seg_head = sem_seg_head
        self.panoptic_fusion = panoptic_fusion
        self.class_table = class_table
        self.input_format = input_format
        # A plain ResNet needs no padding, but logits of stride s are upsampled to a multiple of s.
        divisibility = 1 if sem_seg_head is None else sem_seg_head.size_divisibility
        self.size_divisibility = math.lcm(max(backbone.size_divisibility, 1), divisibility)
        self.output_format = output_format
        self.keeps_logits = False
        self.windows = _windows(window_size, window_overlap, self.size_divisibility)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).float().view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).float().view(-1, 1, 1), persistent=False)
        self.memory_format = memory_format
        self.in_bfloat16 = bfloat16
        self.to(memory_format=memory_format)
        self.train_only(train_parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = resolve_config(cfg)
        table = dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        if cfg.MODEL.ROI_HEADS.NAME and not table.num_things:
            raise ValueError(
                f"MODEL.ROI_HEADS.NAME: the data set {cfg.DATASETS.TRAIN[0]} has no thing classes to detect; leave the "
                f"detector out: {format_hint(*WITHOUT_DETECTOR)}"
            )
        backbone = build_backbone(cfg)
        if cfg.MODEL.BACKBONE.FREEZE_BN_STATISTICS:
            # Only of the pretrained part: an FPN on top of it starts from scratch and has no statistics to keep.
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
            "memory_format": choose_memory_format(cfg),
            "bfloat16": uses_bfloat16(cfg),
        }

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.roi_heads is not None:
            for name in ("mask_head", "keypoint_head"):
                if (head := getattr(self.roi_heads, name, None)) is not None:
                    # Also of a frozen one the mode decides between losses and predictions; what is in it stays frozen.
                    head.training = self.roi_heads.training
        return self

    def reads_all_features(self) -> bool:
        """Return whether all maps of the backbone are read; a semantic head alone may leave levels of an FPN unread."""
        if self.sem_seg_head is None or self.proposal_generator is not None or not isinstance(self.backbone, FPN):
            return True
        named = (getattr(part, "in_features", None) for part in self.sem_seg_head.modules())
        read = {name for names in named if isinstance(names, list) for name in names}
        return read.issuperset(self.backbone.output_shape())

    def training_order(self) -> list[list[str]]:
        """Return the backbone with the first part of the semantic head, then the head's further parts one by one."""
        parts = self.sem_seg_head.training_order() if self.sem_seg_head is not None else []
        first, *others = [[f"sem_seg_head.{part}".rstrip(".")] for part in parts] or [[]]
        return [["backbone", *first], *others]

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: Batch) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Detectron2's contract: weighted losses by name in training, one dict of outputs an image in inference.

        Args:
            batched_inputs: one dict an image: `image` (C, H, W); in training `sem_seg` (H, W) int64 for a semantic
                head and, where they are known, `instances` for a detector; in inference `height` and `width` of the
                original image.
        """
        if not self.training:
            return self.inference(batched_inputs)
        with self.computing():
            return self.losses(batched_inputs)

    def computing(self) -> AbstractContextManager[None]:
        """Return a context in which the network computes in the model's precision; `predict` enters it by itself."""
        return compute_in(self.in_bfloat16)

    def losses(self, batched_inputs: Batch) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch, of the parts that are trained.

        The detector is trained on the images whose instances are known; images without that ground truth do not count
        as empty. A frozen semantic head still passes gradients to the backbone, a frozen detector does not: it is in
        inference mode.

        Raises:
            ValueError: there is no loss.
        """
        images, features = self.extract(batched_inputs)
        losses: dict[str, Tensor] = {}
        if self.sem_seg_head is not None and has_trainable(self.backbone, self.sem_seg_head):
            prediction = self.sem_seg_head.predict(_head_inputs(images, features))
            losses.update(self.sem_seg_head.losses(prediction, self._semantic_targets(batched_inputs)))
        losses.update(self._detector_losses(images, features, batched_inputs))
        if not losses:
            raise ValueError("SOLVER.TRAIN_PARTS: the model has no loss that depends on these parts")
        return losses

    def _detector_losses(
        self, images: ImageList, features: dict[str, Tensor], batched_inputs: Batch
    ) -> dict[str, Tensor]:
        first, second = self.proposal_generator, self.roi_heads
        if first is None or second is None or not has_trainable(self.backbone, first, second):
            return {}
        if not (first.training or second.training):
            return {}
        labeled = [i for i, x in enumerate(batched_inputs) if "instances" in x]
        # Without such images the first one has weight 0, so that each process has all losses and gradients.
        chosen = labeled or [0]
        if len(chosen) < len(batched_inputs):
            indices = upload(chosen, self.device)
            images = ImageList(images.tensor[indices], [images.image_sizes[i] for i in chosen])
            features = {name: feature[indices] for name, feature in features.items()}
        targets = [batched_inputs[i]["instances"] for i in labeled] or [make_instances([], [], images.image_sizes[0])]
        ground_truth = [instances.to(self.device) for instances in targets]
        proposals, losses = first(images, features, ground_truth)
        if second.training:
            losses = {**losses, **second(images, features, proposals, ground_truth)[1]}
        return losses if labeled else {name: 0 * loss for name, loss in losses.items()}

    def inference(self, batched_inputs: Batch) -> list[dict[str, Any]]:
        """Return the outputs of each image of a batch, at the size of the original image."""
        return [self.finish(x, prediction) for x, prediction in zip(batched_inputs, self.predict(batched_inputs))]

    def predict(self, batched_inputs: Batch) -> list[ImagePrediction]:
        """Return the predictions of the semantic head and of the detector for each image of a batch.

        The semantic head runs on images larger than the window only when their semantic map is read.
        """
        predictions = [ImagePrediction() for _ in batched_inputs]
        in_windows = self.sem_seg_head is not None and any(self._exceeds_window(x["image"]) for x in batched_inputs)
        if in_windows:
            for x, prediction in zip(batched_inputs, predictions):
                prediction.semantic = self._semantic_in_windows(x["image"])
            if self.roi_heads is None:
                return predictions
        with self.computing():
            images, features = self.extract(batched_inputs)
            if self.sem_seg_head is not None and not in_windows:
                self._predict_semantic(self.sem_seg_head, images, features, predictions)
            if self.proposal_generator is not None and self.roi_heads is not None:
                proposals, _ = self.proposal_generator(images, features, None)
                instances, _ = self.roi_heads(images, features, proposals, None)
                for prediction, found in zip(predictions, instances):
                    prediction.instances = to_plain_instances(found)
        return predictions

    def finish(self, x: dict[str, Any], prediction: ImagePrediction) -> dict[str, Any]:
        """Return the outputs of an image; `x` is its element of the batch."""
        height, width = x["image"].shape[-2:]
        outputs = finish_image(
            prediction,
            output_size=(x.get("height", height), x.get("width", width)),
            fusion=self.panoptic_fusion,
            output_format=self.output_format,
        )
        if self.keeps_logits and prediction.semantic is not None:
            outputs["semantic_logits"] = prediction.semantic
        return outputs

    def extract(self, batched_inputs: Batch) -> tuple[ImageList, dict[str, Tensor]]:
        """Normalize and pad the images, and run the backbone on them."""
        images = [(upload(x["image"], self.device) - self.pixel_mean).div_(self.pixel_std) for x in batched_inputs]
        image_list = ImageList.from_tensors(images, self.size_divisibility)
        return image_list, self.backbone(image_list.tensor.contiguous(memory_format=self.memory_format))

    def _predict_semantic(
        self,
        head: SemanticHead,
        images: ImageList,
        features: dict[str, Tensor],
        predictions: Sequence[ImagePrediction],
    ) -> None:
        """Write the semantic head's predictions into those of the images."""
        found = head.predict(_head_inputs(images, features))
        compact = self.output_format == "compact"
        maps, logit_maps = (head.describe(found), head.logit_maps(found)) if compact else ({}, {})
        for index, (prediction, size) in enumerate(zip(predictions, images.image_sizes)):
            prediction.semantic = LogitMap.from_logits(to_plain(found.logits[index]), head.common_stride, size)
            prediction.maps = cut_cell_maps(maps, images, index)
            prediction.logit_maps = cut_logit_maps(logit_maps, images, index)

    def _exceeds_window(self, image: Tensor) -> bool:
        return self.windows is not None and max(image.shape[-2:]) > self.windows.size

    def _semantic_in_windows(self, image: Tensor) -> LogitMap:
        assert self.windows is not None and self.sem_seg_head is not None
        predict = partial(self._predict_window, image)
        stride = self.sem_seg_head.common_stride
        return LogitMap.from_windows(predict, self.windows, stride, (image.shape[-2], image.shape[-1]))

    @torch.no_grad()
    def _predict_window(self, image: Tensor, rows: slice, columns: slice) -> Tensor:
        """Return the logits (K, r, c) of a window; a window that exceeds the image is padded like a small image."""
        assert self.sem_seg_head is not None
        with self.computing():
            images, features = self.extract([{"image": image[:, rows, columns]}])
            return to_plain(self.sem_seg_head.predict(_head_inputs(images, features)).logits[0])

    def _semantic_targets(self, batched_inputs: Batch) -> Tensor:
        """Return (N, H, W), padded with the label that no loss counts."""
        assert self.sem_seg_head is not None
        targets = [upload(x["sem_seg"], self.device) for x in batched_inputs]
        ignore = self.sem_seg_head.ignore_value
        return ImageList.from_tensors(targets, self.size_divisibility, ignore).tensor


def _head_inputs(images: ImageList, features: dict[str, Tensor]) -> HeadInputs:
    return HeadInputs(features, images.tensor, mask_valid(images))


def _windows(size: int, overlap: float, step: int) -> SlidingWindows | None:
    try:
        return SlidingWindows(size, overlap, step) if size else None
    except ValueError as error:
        raise ValueError(f"TEST.WINDOW: {error}") from None
