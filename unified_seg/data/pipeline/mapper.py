"""The mapper from a record of a data set to the inputs of the model.

(H, W) = the image after augmentation.
"""

from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T

from unified_seg.config import ConfigError
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.label_files import check_size, replace_segments
from unified_seg.data.io.plain_images import load_panoptic_ids
from unified_seg.data.io.semantic_labels import find_segment_classes, number_segments, read_semantic_ground_truth
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.pipeline.instances import make_instances_from_annotations, make_instances_from_segments
from unified_seg.data.problems import DataError
from unified_seg.ops.id_maps import look_up
from unified_seg.structures.class_table import WIDE_IGNORE_LABEL, ClassTable

Record = dict[str, Any]


class UnifiedMapper:
    """A mapper that reads a record's files, augments image, labels and masks together, and makes tensors.

    Args:
        is_train: read labels and add `sem_seg` and `instances` to the record; else add only `image`.
        augmentations: for image, semantic label and instance masks together.
        image_format: order of channels.
        with_semantic: the model has a semantic head, so `sem_seg` is needed.
        with_instances: the model has a detector, so `instances` is needed.
        with_masks: the detector predicts masks, so `annotations` must have them.
        reader: of the images; None: one of `image_format` without settings.
        class_table: of the data sets; its ignore label is in [0, 32767].
    """

    @configurable
    def __init__(
        self,
        *,
        is_train: bool,
        augmentations: T.AugmentationList,
        image_format: str,
        with_semantic: bool = True,
        with_instances: bool = True,
        with_masks: bool = True,
        class_table: ClassTable,
        reader: ImageReader | None = None,
    ):
        self.is_train = is_train
        self.augmentations = augmentations
        self.reader = reader or ImageReader(image_format)
        self.with_semantic = with_semantic
        self.with_instances = with_instances
        self.with_masks = with_masks
        self.class_table = class_table

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> dict[str, Any]:
        """Return the arguments of a config; raises ConfigError for invalid INPUT keys or an invalid ignore label."""
        table = dataset_classes(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        if not 0 <= table.ignore_label <= WIDE_IGNORE_LABEL:
            raise ConfigError(
                f"{cfg.DATASETS.TRAIN[0]}: the ignore label must be in [0, {WIDE_IGNORE_LABEL}], got "
                f"{table.ignore_label}"
            )
        return {
            "is_train": is_train,
            "augmentations": build_augmentations(cfg, is_train),
            "image_format": cfg.INPUT.FORMAT,
            "reader": ImageReader.from_config(cfg),
            "with_semantic": bool(cfg.MODEL.SEM_SEG_HEAD.NAME),
            "with_instances": bool(cfg.MODEL.ROI_HEADS.NAME),
            "with_masks": cfg.MODEL.MASK_ON,
            "class_table": table,
        }

    def __call__(self, record: Record) -> Record:
        """Return the record with `image` (C, H, W) uint8, and in training `sem_seg` (H, W) int64 and `instances`.

        Without a semantic ground truth `sem_seg` is void, without a ground truth of instances there is no `instances`.

        Raises:
            DataError: a file that can't be read, or has another size than its record; it names the file.
        """
        result = dict(record)
        image = self.reader.read(record["file_name"])
        _check_image_size(image, record)
        if not self.is_train:
            augmented = T.AugInput(image)
            self.augmentations(augmented)
            return {**result, "image": _to_channels_first(augmented.image)}
        segments = self._read_segments(record)
        classes = None
        if self.with_semantic and record.get("sem_seg_file_name"):
            classes = _encode_labels(
                read_semantic_ground_truth(record, self.class_table), self.class_table.ignore_label
            )
        augmented = _LabeledInput(image, classes, segments)
        transforms = self.augmentations(augmented)
        result["image"] = _to_channels_first(augmented.image)
        size = augmented.image.shape[:2]
        if self.with_semantic:
            result["sem_seg"] = torch.from_numpy(self._decode_semantic(augmented, size))
        # Not read by models: long lists that would be copied from process to process.
        annotations, infos = result.pop("annotations", None), result.pop("segments_info", None)
        if self.with_instances and annotations is not None:
            result["instances"] = make_instances_from_annotations(record, transforms, size, self.with_masks)
        elif self.with_instances and augmented.segments is not None:
            result["instances"] = make_instances_from_segments(augmented.segments.read_numbers(), infos or [])
        return result

    def _read_segments(self, record: Record) -> "_Segments | None":
        """Return the panoptic map if a label or instances come from it."""
        file = record.get("pan_seg_file_name")
        semantic = self.with_semantic and not record.get("sem_seg_file_name")
        instances = self.with_instances and "annotations" not in record
        if not (file and (semantic or instances)):
            return None
        ids = replace_segments(check_size(load_panoptic_ids(file), (record["height"], record["width"]), file), record)
        classes = find_segment_classes(record, self.class_table) if semantic else None
        numbers = number_segments(ids, record, ignore_unknown=not semantic)
        return _Segments(numbers, classes, self.class_table.ignore_label)

    def _decode_semantic(self, augmented: "_LabeledInput", size: tuple[int, int]) -> np.ndarray:
        """Return (H, W) int64 semantic ids and the ignore label."""
        if augmented.labels is not None:
            return _decode_labels(augmented.labels, self.class_table.ignore_label)
        if augmented.segments is not None:
            return augmented.segments.read_classes()
        return np.full(size, self.class_table.ignore_label, dtype=np.int64)


class _Segments:
    """A panoptic map during the transforms.

    Args:
        numbers: (H, W), the number of each pixel's segment: 0 = void, i + 1 = the segment i of segments_info.
        classes: (segments + 1,) int64, the semantic id of each number; None: not needed.
        ignore_label: of the classes.
    """

    def __init__(self, numbers: np.ndarray, classes: np.ndarray | None, ignore_label: int):
        # As bytes: transforms resize wider integers by other pixel centers than images.
        self.coded = numbers if numbers.dtype == np.uint8 else _split_bytes(numbers)
        self.classes = classes
        self.ignore_label = ignore_label

    def read_numbers(self) -> np.ndarray:
        """Return the numbers (H, W), uint8 or int32."""
        self.coded = _to_contiguous(self.coded)  # it may be a mirrored view, and is read twice
        return self.coded if self.coded.ndim == 2 else _join_bytes(self.coded)

    def read_classes(self) -> np.ndarray:
        """Return the semantic ids (H, W) int64."""
        assert self.classes is not None
        return look_up(self.read_numbers(), self.classes)

    def encode_classes(self) -> np.ndarray | None:
        """Return the semantic ids as `_encode_labels` does; None if they are not needed."""
        if self.classes is None:
            return None
        coded = _encode_labels(self.classes, self.ignore_label)
        return look_up(self.read_numbers(), coded) if coded.ndim == 1 else coded[self.read_numbers()]


class _LabeledInput(T.AugInput):
    """An image with semantic labels, or with a panoptic map that holds them, for augmentations.

    Attributes:
        labels: of `_encode_labels`, or None.
        segments: or None.
    """

    image: np.ndarray

    def __init__(self, image: np.ndarray, labels: np.ndarray | None, segments: _Segments | None):
        self.labels = labels
        self.segments = segments
        super().__init__(image)

    @property
    def sem_seg(self) -> np.ndarray | None:
        """The encoded labels, which an augmentation may ask for."""
        return self.labels if self.labels is not None or self.segments is None else self.segments.encode_classes()

    @sem_seg.setter
    def sem_seg(self, value: None) -> None:
        """The constructor of Detectron2 sets it."""

    def transform(self, tfm: T.Transform) -> None:
        self.image = tfm.apply_image(self.image)
        if self.labels is not None:
            self.labels = tfm.apply_segmentation(self.labels)
        if self.segments is not None:
            self.segments.coded = tfm.apply_segmentation(self.segments.coded)


def _to_contiguous(array: np.ndarray) -> np.ndarray:
    """Return an array without negative strides, which PyTorch refuses; NumPy keeps those of sides of one pixel."""
    return array.copy() if min(array.strides) < 0 else np.ascontiguousarray(array)


def _to_channels_first(image: np.ndarray) -> torch.Tensor:
    """Return an image (H, W, C) as a tensor (C, H, W)."""
    is_mirrored = image.strides[1] < 0
    source = image[:, ::-1] if is_mirrored else image
    if image.dtype != np.uint8 or (source.strides[1] == 1 and not is_mirrored):
        return torch.from_numpy(_to_contiguous(image.transpose(2, 0, 1)))
    # OpenCV separates and mirrors channels several times as fast as NumPy.
    planes = [source[..., i] for i in range(image.shape[2])] if source.strides[1] == 1 else cv2.split(source)
    return torch.from_numpy(np.stack([cv2.flip(plane, 1) for plane in planes] if is_mirrored else planes))


def _encode_labels(labels: np.ndarray, ignore_label: int) -> np.ndarray:
    """Return semantic ids as bytes: transforms resize wider integers by other pixel centers than images.

    Shifted by the ignore label, void is 0: what transforms fill new pixels with.

    Returns:
        (...,) uint8, modulo 256; for an ignore label above 255 (..., 3) uint8, see `_split_bytes`.
    """
    if ignore_label <= 255:
        return labels.astype(np.uint8) - np.uint8(ignore_label)
    return _split_bytes((labels.astype(np.uint16) - np.uint16(ignore_label)).astype(np.int32))


def _decode_labels(coded: np.ndarray, ignore_label: int) -> np.ndarray:
    """Return the semantic ids (H, W) int64 of `_encode_labels`."""
    if ignore_label <= 255:
        return (coded + np.uint8(ignore_label)).astype(np.int64)
    return (_join_bytes(coded).astype(np.uint16) + np.uint16(ignore_label)).astype(np.int64)


def _split_bytes(numbers: np.ndarray) -> np.ndarray:
    """Return numbers below 2**24 as (..., 3) uint8, the lowest byte first, as an image that every transform takes."""
    return np.stack([numbers & 255, (numbers >> 8) & 255, numbers >> 16], axis=-1).astype(np.uint8)


def _join_bytes(coded: np.ndarray) -> np.ndarray:
    """Return the numbers of `_split_bytes` as int32."""
    wide = coded.astype(np.int32)
    return wide[..., 0] + (wide[..., 1] << 8) + (wide[..., 2] << 16)


def _check_image_size(image: np.ndarray, record: Record) -> None:
    expected = (record["height"], record["width"])
    if image.shape[:2] != expected:
        file, (height, width) = record["file_name"], image.shape[:2]
        raise DataError(f"{file}: {height}x{width} pixels, but its record has {expected[0]}x{expected[1]}")
