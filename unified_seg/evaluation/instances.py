"""COCO's average precision of detection and instance segmentation, by pycocotools.

T = thing classes.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unified_seg.cli import format_hint
from unified_seg.data.coco.categories import to_coco_categories
from unified_seg.data.coco.masks import Rle, check_masks, convert_to_rle
from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.data.coco.rle import encode_masks, encode_window
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import (
    Output,
    PanopticGroundTruth,
    PanopticGroundTruthEvaluator,
    PerImageEvaluator,
    Record,
    Scores,
    check_unfused,
    list_coco_images,
    require_files,
)
from unified_seg.evaluation.model_outputs import read_instances
from unified_seg.evaluation.tables import format_class_table
from unified_seg.structures.class_table import ClassTable

logger = logging.getLogger(__name__)

#: The detections of an image that pycocotools counts by default.
COCO_MAX_DETECTIONS = 100


@dataclass(frozen=True)
class GroundTruthInstance:
    """An instance of the ground truth.

    Attributes:
        thing_id: its class.
        box: x, y, width, height in pixels.
        area: pixels.
        is_crowd: whether it is a group of objects that are not labeled one by one.
        mask: COCO run lengths; None if the data set has boxes only.
    """

    thing_id: int
    box: tuple[float, float, float, float]
    area: float
    is_crowd: bool
    mask: Rle | None


class Detection(NamedTuple):
    """A detected instance.

    Attributes:
        thing_id: its class.
        score: in [0, 1].
        box: x, y, width, height in pixels.
        mask: COCO run lengths; None for a detector without masks.
    """

    thing_id: int
    score: float
    box: list[float]
    mask: Rle | None


class ImageInstances(NamedTuple):
    """The instances of one image.

    Attributes:
        ground_truth: all instances of the record.
        detections: all predicted instances.
        unfused: the predicted instances before the fusion; None if no fusion changes them.
    """

    ground_truth: list[GroundTruthInstance]
    detections: list[Detection]
    unfused: list[Detection] | None


class InstanceEvaluator(PanopticGroundTruthEvaluator[ImageInstances]):
    """Scores of "bbox" and, with masks, of "segm": AP, AP50, AP75, APs, APm, APl and AP-<class>, in percent.

    The ground truth is in memory, with new ids from 1, since pycocotools takes id 0 for "no match". A class or size
    without a ground-truth instance is NaN; without any instance all scores are. If the outputs have `unfused`,
    "segm_unfused" is the "segm" of the masks before the fusion. The evaluator also writes
    coco_instances_results.json, in COCO's result format.

    Args:
        table: the classes.
        records: the data set; each record needs `annotations`, or pan_seg_file_name and segments_info.
        output_folder: for the JSON.
        with_masks: whether the model predicts masks.
        ground_truth: see `PanopticGroundTruthEvaluator`.
        max_detections: the detections of an image that count, those with the highest scores of each class; of a
            detector its TEST.DETECTIONS_PER_IMAGE, below 0 for all. COCO's own number is 100.
    """

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        with_masks: bool = True,
        ground_truth: PanopticGroundTruth | None = None,
        max_detections: int = COCO_MAX_DETECTIONS,
    ):
        super().__init__(table, records, output_folder, ground_truth)
        self.max_detections = max_detections
        require_files([record for record in records if "annotations" not in record], "pan_seg_file_name")
        self.with_masks = with_masks
        if with_masks:
            for record in records:
                check_masks(record)

    def score_image(self, record: Record, output: Output) -> ImageInstances:
        unfused = None
        if self.with_masks and "unfused" in output:
            unfused = read_detections(record, output["unfused"], self.table, self.with_masks)
        detections = read_detections(record, output, self.table, self.with_masks)
        return ImageInstances(read_gt_instances(record, self.ground_truth, self.with_masks), detections, unfused)

    def summarize(self, items: dict[Any, ImageInstances]) -> dict[str, Scores]:
        _write_results(self.output_folder, self.table, {i: item.detections for i, item in items.items()})
        images = list(items.values())
        limit = self._find_limit(images)
        self._warn_of_more_objects(images, limit)
        results = {"bbox": self._average_precision(images, "bbox", limit)}
        if self.with_masks:
            results["segm"] = self._average_precision(images, "segm", limit)
        before = [image._replace(detections=image.unfused) for image in images if image.unfused is not None]
        check_unfused(len(before), len(images))
        if before:
            results["segm_unfused"] = self._average_precision(before, "segm", limit)
        self.notes = [f"AP counts up to {limit} detections per image"]
        for task, scores in results.items():
            table = format_class_table(scores, ("AP",))
            logger.info("%s average precision by class, of up to %d detections per image:\n%s", task, limit, table)
        return results

    def _average_precision(self, images: Sequence[ImageInstances], task: str, limit: int) -> Scores:
        return compute_average_precision(images, task, [c.name for c in self.table.things], limit)

    def _find_limit(self, images: Sequence[ImageInstances]) -> int:
        """Return how many detections of an image count."""
        if self.max_detections >= 0:
            return self.max_detections
        return max(COCO_MAX_DETECTIONS, *(len(each) for i in images for each in (i.detections, i.unfused or ())))

    def _warn_of_more_objects(self, images: Sequence[ImageInstances], limit: int) -> None:
        """Warn if images have more objects than detections that count, so that some can't be found."""
        counts = [sum(not instance.is_crowd for instance in image.ground_truth) for image in images]
        if more := sum(count > limit for count in counts):
            logger.warning(
                "%d of %d images have more than %d objects, up to %d, and no more detections than that count: set %s",
                *(more, len(images), limit, max(counts), format_hint("TEST.DETECTIONS_PER_IMAGE", max(counts))),
            )


class InstanceExporter(PerImageEvaluator[list[Detection]]):
    """Writes coco_instances_results.json without scores, for images without ground truth.

    Also writes coco_images.json, the images and categories that it refers to: `pycocotools.coco.COCO` reads this file,
    and its `loadRes` then the results.

    Args:
        table: the classes.
        records: the data set.
        output_folder: for the files.
        with_masks: whether the model predicts masks.
    """

    def __init__(
        self, table: ClassTable, records: Sequence[Record], output_folder: str | Path, with_masks: bool = True
    ):
        super().__init__(table, records, output_folder)
        self.with_masks = with_masks

    def score_image(self, record: Record, output: Output) -> list[Detection]:
        return read_detections(record, output, self.table, self.with_masks)

    def summarize(self, items: dict[Any, list[Detection]]) -> dict[str, Scores]:
        _write_results(self.output_folder, self.table, items)
        content = {
            "images": list_coco_images(self.records[image_id] for image_id in items),
            "annotations": [],
            "categories": to_coco_categories(self.table.things),
        }
        write_json(self.output_folder / "coco_images.json", content, indent=None)
        return {}


def read_detections(record: Record, output: Output, table: ClassTable, with_masks: bool) -> list[Detection]:
    """Read the predicted instances of an image.

    Raises:
        ValueError: see `read_instances`; or a class that is no thing class of the data set.
    """
    instances = read_instances(record, output, with_masks)
    classes = instances.pred_classes.tolist()
    outside = {c for c in classes if not 0 <= c < table.num_things}
    if outside:
        raise ValueError(
            f"image {record['image_id']!r}: predicted classes {sorted(outside)} are not thing classes of the data "
            f"set (0 .. {table.num_things - 1})"
        )
    boxes = instances.pred_boxes.tensor.clone()
    boxes[:, 2:] -= boxes[:, :2]
    masks: Iterable[Rle | None] = encode_masks(instances.pred_masks) if with_masks else [None] * len(classes)
    return [Detection(*d) for d in zip(classes, instances.scores.tolist(), boxes.tolist(), masks)]


def _write_results(folder: Path, table: ClassTable, detections: Mapping[Any, Sequence[Detection]]) -> None:
    """Write the detections of each image, by image id, as coco_instances_results.json in COCO's result format."""
    results = []
    for image_id, of_image in detections.items():
        for detection in of_image:
            category_id = table.things[detection.thing_id].dataset_id
            result = {"image_id": image_id, "category_id": category_id, "score": detection.score}
            result["bbox"] = detection.box
            if detection.mask is not None:
                result["segmentation"] = detection.mask
            results.append(result)
    write_json(folder / "coco_instances_results.json", results, indent=None)


def read_gt_instances(record: Record, ground_truth: PanopticGroundTruth, with_masks: bool) -> list[GroundTruthInstance]:
    """Read the instances of a record: its `annotations` if it has any, else the things of its panoptic PNG.

    Raises:
        DataError: see `read_segments`; or an annotation has an unknown class or, with masks, no valid mask.
    """
    if "annotations" in record:
        return [_from_annotation(record, i, ground_truth.table, with_masks) for i in range(len(record["annotations"]))]
    ids, segments = ground_truth.read(record)
    return [_from_segment(ids, segment) for segment in segments if segment.cls.is_thing]


def _from_segment(ids: np.ndarray, segment: GroundTruthSegment) -> GroundTruthInstance:
    rows, columns = segment.window
    rle = encode_window(ids[segment.window] == segment.id, rows.start, columns.start, (ids.shape[0], ids.shape[1]))
    box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return GroundTruthInstance(segment.cls.category_id, box, segment.area, segment.is_crowd, rle)


def _from_annotation(record: Record, index: int, table: ClassTable, with_masks: bool) -> GroundTruthInstance:
    annotation = record["annotations"][index]
    where = f"{record['file_name']}: annotation {index}"
    thing_id = annotation["category_id"]
    if not 0 <= thing_id < table.num_things:
        raise DataError(f"{where}: category_id must be a thing class (0 .. {table.num_things - 1}), got {thing_id}")
    x, y, width, height = BoxMode.convert(list(annotation["bbox"]), annotation["bbox_mode"], BoxMode.XYWH_ABS)
    mask, area = None, float(width * height)
    if annotation.get("segmentation"):
        mask = convert_to_rle(annotation["segmentation"], (record["height"], record["width"]), where)
        area = float(mask_util.area(mask))
    elif with_masks:
        boxes_only = format_hint("MODEL.MASK_ON", False, "MODEL.PANOPTIC_FUSION.NAME", "")
        raise DataError(f"{where}: no segmentation, which mask AP needs; set {boxes_only} for boxes only")
    return GroundTruthInstance(thing_id, (x, y, width, height), area, bool(annotation.get("iscrowd", 0)), mask)


def compute_average_precision(
    images: Sequence[ImageInstances],
    task: str,
    class_names: Sequence[str],
    max_detections: int = COCO_MAX_DETECTIONS,
) -> Scores:
    """Compute COCO's average precision.

    Args:
        images: ground truth and detections of each image.
        task: "bbox" or "segm".
        class_names: T, by thing id.
        max_detections: of each class in each image, those with the highest scores count.

    Returns:
        AP, AP50, AP75, APs, APm, APl and AP-<class> in percent; 0 without detections, NaN for a class or size without
        ground-truth instances.
    """
    evaluation = COCOeval(
        _make_coco((item.ground_truth for item in images), len(images), len(class_names), task),
        _make_coco((item.detections for item in images), len(images), len(class_names), task),
        task,
    )
    evaluation.params.maxDets = [max_detections]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]  # (IoU threshold, recall, class, size)
    scores = {"AP": _mean_percent(precision[:, :, :, 0])}
    for name, threshold in (("AP50", 0.5), ("AP75", 0.75)):
        scores[name] = _mean_percent(precision[np.isclose(evaluation.params.iouThrs, threshold), :, :, 0])
    for name, label in (("APs", "small"), ("APm", "medium"), ("APl", "large")):
        scores[name] = _mean_percent(precision[..., evaluation.params.areaRngLbl.index(label)])
    for thing_id, name in enumerate(class_names):
        scores[f"AP-{name}"] = _mean_percent(precision[:, :, thing_id, 0])
    return scores


def _make_coco(
    images: Iterable[Sequence[GroundTruthInstance] | Sequence[Detection]], num_images: int, num_classes: int, task: str
) -> COCO:
    """Convert ground truth or detections for pycocotools: images from 0, classes by thing id, objects from 1."""
    annotations: list[dict[str, Any]] = []
    for image_id, instances in enumerate(images):
        for instance in instances:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": instance.thing_id,
                "bbox": list(instance.box),
                "segmentation": instance.mask,
            }
            annotations.append(annotation | _describe(instance, task))
    coco = COCO()
    coco.dataset = {
        # pycocotools reads the size of images, but uses it for polygons only; the masks are run lengths.
        "images": [{"id": i, "height": None, "width": None} for i in range(num_images)],
        "categories": [{"id": i} for i in range(num_classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _describe(instance: GroundTruthInstance | Detection, task: str) -> dict[str, Any]:
    """Return the area and the flags or score that pycocotools evaluates.

    The area of ground truth is its mask's in both tasks, while that of a detection in "bbox" is its box's.
    """
    if isinstance(instance, GroundTruthInstance):
        return {"area": instance.area, "iscrowd": int(instance.is_crowd)}
    if task == "segm":
        area = float(mask_util.area(instance.mask))
    else:
        area = instance.box[2] * instance.box[3]
    return {"area": area, "iscrowd": 0, "score": instance.score}


def _mean_percent(precision: np.ndarray) -> float:
    """Return the mean precision in percent; undefined values, which are -1 in pycocotools, are left out."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if defined.size else float("nan")
