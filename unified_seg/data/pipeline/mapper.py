"""The mapper from a record of a data set to the inputs of the model.

(H, W) = the image after augmentation.
"""

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog, detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances

from unified_seg.config import ConfigError
from unified_seg.data.coco.masks import check_masks, check_segmentation, name_annotation
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.label_files import check_size, read_panoptic_ids
from unified_seg.data.io.semantic_labels import convert_segments_to_classes, read_semantic_ground_truth
from unified_seg.data.pipeline.input_augmentation import build_augmentations
from unified_seg.data.problems import DataError
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
        semantic, ids = None, self._read_panoptic(record)
        if self.is_train and self.with_semantic:
            semantic = _encode_labels(self._read_semantic(record, ids), self.class_table.ignore_label)
        augmented = T.AugInput(image, sem_seg=semantic)
        transforms = self.augmentations(augmented)
        result["image"] = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        if semantic is not None:
            label = _decode_labels(augmented.sem_seg, self.class_table.ignore_label)
            result["sem_seg"] = torch.from_numpy(label)
        if self.is_train and self.with_instances:
            size = augmented.image.shape[:2]
            if "annotations" in record:
                result["instances"] = _make_instances_from_annotations(record, transforms, size, self.with_masks)
            elif ids is not None:
                result["instances"] = _make_instances_from_segments(ids, record, transforms, size)
        return result

    def _read_panoptic(self, record: Record) -> np.ndarray | None:
        """Return the segment ids if a label or instances come from them."""
        file = record.get("pan_seg_file_name")
        semantic = self.with_semantic and not record.get("sem_seg_file_name")
        instances = self.with_instances and "annotations" not in record
        if not (file and self.is_train and (semantic or instances)):
            return None
        return check_size(read_panoptic_ids(file), (record["height"], record["width"]), file)

    def _read_semantic(self, record: Record, ids: np.ndarray | None) -> np.ndarray:
        """Return (H, W) semantic ids and the ignore label."""
        if record.get("sem_seg_file_name"):
            return read_semantic_ground_truth(record, self.class_table)
        if ids is not None:
            return convert_segments_to_classes(ids, record, self.class_table)
        return np.full((record["height"], record["width"]), self.class_table.ignore_label, dtype=np.int32)


def _encode_labels(labels: np.ndarray, ignore_label: int) -> np.ndarray:
    """Return semantic ids as bytes: transforms resize wider integers by other pixel centers than images.

    Shifted by the ignore label, void is 0: what transforms fill new pixels with.

    Returns:
        (H, W) uint8, modulo 256; for an ignore label above 255 (H, W, 3) uint8, modulo 65536, the lowest byte first.
    """
    if ignore_label <= 255:
        return labels.astype(np.uint8) - np.uint8(ignore_label)
    shifted = labels.astype(np.uint16) - np.uint16(ignore_label)
    return np.stack([shifted & 255, shifted >> 8, np.zeros_like(shifted)], axis=-1).astype(np.uint8)


def _decode_labels(coded: np.ndarray, ignore_label: int) -> np.ndarray:
    """Return the semantic ids (H, W) int64 of `_encode_labels`."""
    if ignore_label <= 255:
        return (coded + np.uint8(ignore_label)).astype(np.int64)
    shifted = coded[..., 0] + (coded[..., 1].astype(np.uint16) << 8)
    return (shifted + np.uint16(ignore_label)).astype(np.int64)


def _check_image_size(image: np.ndarray, record: Record) -> None:
    expected = (record["height"], record["width"])
    if image.shape[:2] != expected:
        file, (height, width) = record["file_name"], image.shape[:2]
        raise DataError(f"{file}: {height}x{width} pixels, but its record has {expected[0]}x{expected[1]}")


def _make_instances_from_segments(
    ids: np.ndarray, record: Record, transforms: T.TransformList, size: tuple[int, int]
) -> Instances:
    """Return the visible thing segments, without crowds."""
    # As three bytes again: transforms resize wider integers by other pixel centers than images.
    rgb = np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], axis=-1).astype(np.uint8)
    rgb = transforms.apply_segmentation(rgb).astype(np.int32)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    visible = set(np.unique(ids).tolist())
    things = [s for s in record["segments_info"] if s["isthing"] and not s.get("iscrowd", 0) and s["id"] in visible]
    masks = [torch.from_numpy(ids == segment["id"]) for segment in things]
    return make_instances(masks, [segment["category_id"] for segment in things], size)


def _make_instances_from_annotations(
    record: Record, transforms: T.TransformList, size: tuple[int, int], with_masks: bool
) -> Instances:
    """Return the instances of COCO's boxes with polygons or run lengths, without crowds."""
    if with_masks:
        check_masks(record)
    annotations = []
    for index, annotation in enumerate(record["annotations"]):
        if annotation.get("iscrowd", 0):
            continue
        copy = {key: value for key, value in annotation.items() if key != "segmentation"}
        if with_masks:
            where = f"{record['file_name']}: {name_annotation(annotation, index)}"
            image_size = (record["height"], record["width"])
            copy["segmentation"] = check_segmentation(annotation["segmentation"], image_size, where)
        annotations.append(copy)
    moved = [detection_utils.transform_instance_annotations(annotation, transforms, size) for annotation in annotations]
    instances = detection_utils.annotations_to_instances(moved, size, mask_format="bitmask")
    if not with_masks:
        return detection_utils.filter_empty_instances(instances)
    if not annotations:
        return make_instances([], [], size)
    return make_instances(list(instances.gt_masks.tensor.bool()), instances.gt_classes.tolist(), size)


def make_instances(masks: list[torch.Tensor], classes: list[int], size: tuple[int, int]) -> Instances:
    """Return instances with the tight boxes of their masks; empty masks are left out."""
    kept = [i for i, mask in enumerate(masks) if mask.any()]
    stacked = torch.stack([masks[i] for i in kept]) if kept else torch.zeros((0, *size), dtype=torch.bool)
    bit_masks = BitMasks(stacked)
    instances = Instances(size)
    instances.gt_boxes = bit_masks.get_bounding_boxes()
    instances.gt_classes = torch.tensor([classes[i] for i in kept], dtype=torch.int64)
    instances.gt_masks = bit_masks
    return instances
