"""Detection and instance segmentation: COCO's average precision, by pycocotools.

T = thing classes.
"""

import contextlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unified_seg.data.coco.masks import Rle, check_masks
from unified_seg.data.coco.rle import encode_masks
from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.base import Output, Record, Scores, require_files
from unified_seg.evaluation.ground_truth import (
    GroundTruthInstance,
    PanopticGroundTruth,
    PanopticGroundTruthEvaluator,
    read_gt_instances,
)
from unified_seg.evaluation.model_outputs import read_instances
from unified_seg.evaluation.tables import class_table_text
from unified_seg.structures.class_table import ClassTable

logger = logging.getLogger(__name__)


class Detection(NamedTuple):
    """Attributes: box x, y, width, height in pixels; mask None for a detector without masks."""

    thing_id: int
    score: float
    box: list[float]
    mask: Rle | None


class ImageInstances(NamedTuple):
    """Attributes: unfused, the detections before the fusion, None where no fusion changes them."""

    ground_truth: list[GroundTruthInstance]
    detections: list[Detection]
    unfused: list[Detection] | None


class InstanceEvaluator(PanopticGroundTruthEvaluator[ImageInstances]):
    """Scores of "bbox" and, with masks, of "segm": AP, AP50, AP75, APs, APm, APl and AP-<class>, in percent.

    The ground truth is held in memory and numbered anew from 1 (pycocotools takes id 0 for "no match"), so no file of an
    earlier run can be mistaken for it. A class or size without a true instance has NaN. Where the outputs hold
    `unfused`, "segm_unfused" is the "segm" of the masks before the fusion. It also writes
    coco_instances_results.json, COCO's result format.

    Args:
        table: the classes.
        records: the data set; each needs `annotations`, or pan_seg_file_name and segments_info.
        output_folder: where the JSON goes.
        with_masks: whether the model predicts masks.
        ground_truth: the reader of the ground truth that evaluators of one data set share.
    """

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        with_masks: bool = True,
        ground_truth: PanopticGroundTruth | None = None,
    ):
        super().__init__(table, records, output_folder, ground_truth)
        require_files([record for record in records if "annotations" not in record], "pan_seg_file_name")
        self.with_masks = with_masks
        if with_masks:
            for record in records:
                check_masks(record)

    def score_image(self, record: Record, output: Output) -> ImageInstances:
        unfused = None
        if self.with_masks and "unfused" in output:
            unfused = self._detections(record, output["unfused"])
        detections = self._detections(record, output)
        return ImageInstances(read_gt_instances(record, self.ground_truth, self.with_masks), detections, unfused)

    def _detections(self, record: Record, output: Output) -> list[Detection]:
        found = read_instances(record, output, self.with_masks)
        classes = found.pred_classes.tolist()
        outside = {c for c in classes if not 0 <= c < self.table.num_things}
        if outside:
            raise ValueError(
                f"image {record['image_id']!r}: the model predicts the classes {sorted(outside)}, "
                f"the data set has the thing classes 0 .. {self.table.num_things - 1}"
            )
        boxes = found.pred_boxes.tensor.clone()
        boxes[:, 2:] -= boxes[:, :2]
        masks: Iterable[Rle | None] = encode_masks(found.pred_masks) if self.with_masks else [None] * len(classes)
        return [Detection(*d) for d in zip(classes, found.scores.tolist(), boxes.tolist(), masks)]

    def summarize(self, items: dict[Any, ImageInstances]) -> dict[str, Scores]:
        self._write_results(items)
        if not any(not instance.is_crowd for item in items.values() for instance in item.ground_truth):
            raise ValueError(f"no true instance in {len(items)} images: average precision is not defined")
        images = list(items.values())
        results = {"bbox": self._average_precision(images, "bbox")}
        if self.with_masks:
            results["segm"] = self._average_precision(images, "segm")
        before = [image._replace(detections=image.unfused) for image in images if image.unfused is not None]
        if before and len(before) != len(images):
            raise ValueError(f"{len(before)} of {len(images)} images have instances before the fusion")
        if before:
            results["segm_unfused"] = self._average_precision(before, "segm")
        for task, scores in results.items():
            logger.info("%s average precision by class:\n%s", task, class_table_text(scores, ("AP",)))
        return results

    def _average_precision(self, images: Sequence[ImageInstances], task: str) -> Scores:
        return compute_average_precision(images, task, [c.name for c in self.table.things])

    def _write_results(self, items: dict[Any, ImageInstances]) -> None:
        results = []
        for image_id, item in items.items():
            for detection in item.detections:
                category_id = self.table.things[detection.thing_id].dataset_id
                result = {"image_id": image_id, "category_id": category_id, "score": detection.score}
                result["bbox"] = detection.box
                if detection.mask is not None:
                    result["segmentation"] = detection.mask
                results.append(result)
        write_json(self.output_folder / "coco_instances_results.json", results, indent=None)


def compute_average_precision(images: Sequence[ImageInstances], task: str, class_names: Sequence[str]) -> Scores:
    """COCO's average precision.

    Args:
        images: ground truth and detections of each image.
        task: "bbox" or "segm".
        class_names: T, by thing id.

    Returns:
        AP, AP50, AP75, APs, APm, APl and AP-<class> in percent; 0 where nothing was detected, NaN where no instance
        of the class or size is true.
    """
    evaluation = COCOeval(
        _coco((item.ground_truth for item in images), len(images), len(class_names), task),
        _coco((item.detections for item in images), len(images), len(class_names), task),
        task,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]  # (IoU threshold, recall, class, size), up to 100 detections
    scores = {"AP": _mean(precision[:, :, :, 0])}
    for name, threshold in (("AP50", 0.5), ("AP75", 0.75)):
        scores[name] = _mean(precision[np.isclose(evaluation.params.iouThrs, threshold), :, :, 0])
    for name, label in (("APs", "small"), ("APm", "medium"), ("APl", "large")):
        scores[name] = _mean(precision[..., evaluation.params.areaRngLbl.index(label)])
    for thing_id, name in enumerate(class_names):
        scores[f"AP-{name}"] = _mean(precision[:, :, thing_id, 0])
    return scores


def _coco(
    images: Iterable[Sequence[GroundTruthInstance] | Sequence[Detection]], num_images: int, num_classes: int, task: str
) -> COCO:
    """Truth or detections as pycocotools holds them: images numbered from 0, classes by thing id, objects from 1."""
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
            annotations.append(annotation | _size_and_rank(instance, task))
    coco = COCO()
    coco.dataset = {
        # pycocotools looks up the size of an image, but needs it for polygons alone; these are run lengths.
        "images": [{"id": i, "height": None, "width": None} for i in range(num_images)],
        "categories": [{"id": i} for i in range(num_classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _size_and_rank(instance: GroundTruthInstance | Detection, task: str) -> dict[str, Any]:
    """What small, medium and large mean: the mask's pixels for ground truth in both tasks, but the box of a detected box."""
    if isinstance(instance, GroundTruthInstance):
        return {"area": instance.area, "iscrowd": int(instance.is_crowd)}
    if task == "segm":
        area = float(mask_util.area(instance.mask))
    else:
        area = instance.box[2] * instance.box[3]
    return {"area": area, "iscrowd": 0, "score": instance.score}


def _mean(precision: np.ndarray) -> float:
    """pycocotools marks what is not defined by -1."""
    defined = precision[precision > -1]
    return 100 * float(defined.mean()) if defined.size else float("nan")
