"""The evaluator of detections and instance masks."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np

from unified_seg.data.coco.masks import check_masks
from unified_seg.data.io.text_files import write_json
from unified_seg.evaluation.base import (
    Output,
    PanopticGroundTruth,
    PanopticGroundTruthEvaluator,
    Record,
    Scores,
    check_unfused,
    require_files,
)
from unified_seg.evaluation.instances.average_precision import (
    COCO_MAX_DETECTIONS,
    compute_average_precision,
    find_limit,
    match_instances,
)
from unified_seg.evaluation.instances.diagnosis import count_per_image, diagnose, find_label_errors, inspect_images
from unified_seg.evaluation.instances.exporter import write_results
from unified_seg.evaluation.instances.matches import MATCHES_FILE, collect_matches, write_matches
from unified_seg.evaluation.instances.objects import ImageInstances, read_detections, read_gt_instances
from unified_seg.evaluation.tables import format_class_table
from unified_seg.hints import format_hint
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_arrays

DIAGNOSIS_FILE = "instance_errors.json"
COUNTS_FILE = "instances.npz"

logger = logging.getLogger(__name__)


class InstanceEvaluator(PanopticGroundTruthEvaluator[ImageInstances]):
    """Scores of "bbox" and, with masks, of "segm": AP, AP50, AP75, APs, APm, APl and AP-<class>, in percent.

    A class or size without a ground-truth instance is NaN; without any instance all scores are. If the outputs have
    `unfused`, "segm_unfused" is the "segm" of the masks before the fusion.

    Scores of "errors_segm", or "errors_bbox" without masks, are what `diagnose` returns; data sets without instances
    have none. The evaluator also writes coco_instances_results.json, in COCO's result format, and instance_errors.json:
    numbers of errors, calibration, and labels that may be wrong, see `diagnose` and `find_label_errors`; and
    instances.npz: `per_image` (N, 3), see `count_per_image`, and `image_ids` (N,); and instance_matches.npz, from which
    the AP of any of the images can be computed, see `collect_matches`.

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
        write_results(self.output_folder, self.table, {i: item.detections for i, item in items.items()})
        images = list(items.values())
        limit = find_limit(images, self.max_detections)
        self._warn_of_more_objects(images, limit)
        names = [c.name for c in self.table.things]
        results = {}
        task = "segm" if self.with_masks else "bbox"
        for each in dict.fromkeys(("bbox", task)):
            matches = match_instances(images, each, names, limit)
            results[each] = compute_average_precision(matches, names)
        before = [image._replace(detections=image.unfused) for image in images if image.unfused is not None]
        check_unfused(len(before), len(images))
        if before:
            results["segm_unfused"] = compute_average_precision(match_instances(before, "segm", names, limit), names)
        self.notes = [f"AP counts up to {limit} detections per image"]
        for name, scores in results.items():
            table = format_class_table(scores, ("AP",))
            logger.info("%s average precision by class, of up to %d detections per image:\n%s", name, limit, table)
        for file in (DIAGNOSIS_FILE, COUNTS_FILE, MATCHES_FILE):
            (self.output_folder / file).unlink(missing_ok=True)
        if not math.isnan(results[task]["AP"]):
            write_matches(self.output_folder / MATCHES_FILE, list(items), collect_matches(matches))
            results[f"errors_{task}"] = self._diagnose(matches, items)
        return results

    def _diagnose(self, matches: hotcoco.COCOeval, items: dict[Any, ImageInstances]) -> Scores:
        """Write the file of the diagnosis, and return its scores."""
        names, images = [c.name for c in self.table.things], list(items.values())
        scores, details = diagnose(matches, images, names)
        records = [self.records[image_id] for image_id in items]
        inspected = inspect_images(matches)
        suspects = find_label_errors(inspected, images, records, names)
        per_image = count_per_image(inspected, images)
        write_arrays(self.output_folder / COUNTS_FILE, per_image=per_image, image_ids=np.array(list(items)))
        write_json(self.output_folder / DIAGNOSIS_FILE, {**details, "possible_label_errors": suspects})
        return scores

    def _warn_of_more_objects(self, images: Sequence[ImageInstances], limit: int) -> None:
        """Warn if images have more objects than detections that count, so that some can't be found."""
        counts = [sum(not instance.is_crowd for instance in image.ground_truth) for image in images]
        if more := sum(count > limit for count in counts):
            logger.warning(
                "%d of %d images have more than %d objects, up to %d, and no more detections than that count: set %s",
                *(more, len(images), limit, max(counts), format_hint("TEST.DETECTIONS_PER_IMAGE", max(counts))),
            )
