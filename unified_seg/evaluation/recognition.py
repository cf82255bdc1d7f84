"""The accuracy of the classes of objects: of their pixels in the semantic map, and of their detections.

Source: Costea et al., Fusion Scheme for Semantic and Instance-level Segmentation (2018), section IV: a pixel classifier
may give one object several classes, while a detector gives it one class.

H, W = an image; M = objects: thing segments of the ground truth without crowds.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.evaluation.base import (
    Output,
    PanopticGroundTruth,
    PanopticGroundTruthEvaluator,
    Record,
    Scores,
    check_unfused,
    compute_percent,
)
from unified_seg.evaluation.model_outputs import read_instances, read_labels
from unified_seg.evaluation.tables import format_recognition_table
from unified_seg.ops.id_maps import UnknownIdsError, count_pairs
from unified_seg.structures.class_table import ClassTable

NOT_DETECTED = -1
MATCH_IOU = 0.5
WIDE = 1 / 3  # fraction of the image's width

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objects:
    """The objects of one image, or of all images.

    Attributes:
        thing_ids: (M,) int64, their classes.
        wide: (M,) bool: whether the box is wider than a third of the image.
        pixels: (M,) int64, their areas.
        correct: (M,) int64, pixels with the correct semantic class before the fusion.
        correct_fused: (M,) int64, the same after the fusion; None if no fusion changes semantic maps.
        detected_as: (M,) int64, the class (thing id) of the matched detection; NOT_DETECTED without one.
    """

    thing_ids: np.ndarray
    wide: np.ndarray
    pixels: np.ndarray
    correct: np.ndarray
    correct_fused: np.ndarray | None
    detected_as: np.ndarray


class RecognitionEvaluator(PanopticGroundTruthEvaluator[Objects]):
    """Scores of "recognition", in percent: found, pixels, boxes and, if outputs have `unfused`, pixels_fused.

    - found: fraction of the objects with a matched detection of any class, see `match_detections`;
    - pixels: fraction of the pixels of these objects with the correct semantic class, before the fusion;
    - pixels_fused: the same after the fusion;
    - boxes: fraction of these pixels that would be correct if each object had the class of its detection.

    The last three are measured on the same pixels, so large objects have more weight. Each score is given for all
    objects, for wide ones ("pixels_wide"), by category if there are any ("pixels_category-vehicle"), and by class
    ("pixels-car"). Scores of no object are NaN. A data set without objects has no scores, and a warning is logged.

    Args:
        table: the classes; no two share a semantic id.
        records: the data set; each record needs pan_seg_file_name and segments_info.
        output_folder: of the data set; nothing is written there.
        score_threshold: detections with a lower score are left out; that of the fusion.
        ground_truth: see `PanopticGroundTruthEvaluator`.
    """

    ground_truth_files = ("pan_seg_file_name",)

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        score_threshold: float,
        ground_truth: PanopticGroundTruth | None = None,
    ):
        super().__init__(table, records, output_folder, ground_truth)
        self.score_threshold = score_threshold

    def score_image(self, record: Record, output: Output) -> Objects:
        ids, segments = self.ground_truth.read(record)
        things = [segments[i] for i in _find_objects(segments)]
        before = output.get("unfused", output)
        detections = read_instances(record, before, with_masks=True)
        return Objects(
            thing_ids=np.array([s.cls.thing_id for s in things], dtype=np.int64),
            wide=np.array([_measure_width(s) > WIDE * record["width"] for s in things], dtype=bool),
            pixels=np.array([s.area for s in things], dtype=np.int64),
            correct=self._count_correct(record, before, ids, segments),
            correct_fused=self._count_correct(record, output, ids, segments) if "unfused" in output else None,
            detected_as=match_detections(ids, segments, detections, self.score_threshold),
        )

    def _count_correct(
        self, record: Record, output: Output, ids: np.ndarray, segments: list[GroundTruthSegment]
    ) -> np.ndarray:
        """Count the pixels of each object with the correct semantic id: (M,) int64."""
        labels = read_labels(record, output)
        try:
            counts = count_pairs(ids, labels, _list_ids(segments), range(self.table.num_semantic))
        except UnknownIdsError as error:
            raise ValueError(
                f"image {record['image_id']!r}: predicted semantic ids must be classes (0 .. "
                f"{self.table.num_semantic - 1}), got {error.ids}"
            ) from None
        things = _find_objects(segments)
        return counts[1:][things, [segments[i].cls.semantic_id for i in things]]

    def summarize(self, items: dict[Any, Objects]) -> dict[str, Scores]:
        objects = _concatenate(list(items.values()))
        things = self.table.things
        category_of = np.array([c.category for c in things])[objects.thing_ids]
        chosen = {"": np.ones_like(objects.wide), "_wide": objects.wide}
        categories = dict.fromkeys(c.category for c in things)
        if len(categories) < len(things):
            chosen |= {f"_category-{name}": category_of == name for name in categories}
        chosen |= {f"-{c.name}": objects.thing_ids == c.thing_id for c in things}
        scores: Scores = {}
        for suffix, which in chosen.items():
            scores |= {name + suffix: value for name, value in _compute_shares(objects, which).items()}
        logger.info("%s", format_recognition_table(scores))
        return {"recognition": scores}


def match_detections(
    ids: np.ndarray, segments: Sequence[GroundTruthSegment], detections: Instances, score_threshold: float
) -> np.ndarray:
    """Match detections to objects, regardless of their classes.

    By falling score (of equal scores the lower index first) each detection is matched to the object with the largest
    intersection over union of masks, at least 1/2, among those without a match.

    Args:
        ids: (H, W) segment ids.
        segments: all segments of the map; M of them are objects.
        detections: with `pred_masks` as BoxMasks.
        score_threshold: detections with a lower score are left out.

    Returns:
        (M,) int64 thing ids of the detections; NOT_DETECTED for objects without one.
    """
    things = _find_objects(segments)
    result = np.full(len(things), NOT_DETECTED, dtype=np.int64)
    areas = np.array([segments[i].area for i in things], dtype=np.int64)
    masks = list(detections.pred_masks.crops())
    for i in detections.scores.argsort(descending=True, stable=True).tolist():
        if float(detections.scores[i]) < score_threshold or not things:
            break
        window, mask = masks[i]
        inside = mask.numpy().view(np.uint8)
        common = count_pairs(ids[window], inside, _list_ids(segments), (0, 1))[1:][things, 1]
        iou = common / (areas + inside.sum() - common)
        iou[result != NOT_DETECTED] = 0
        best = iou.argmax()
        if iou[best] >= MATCH_IOU:
            result[best] = int(detections.pred_classes[i])
    return result


def _compute_shares(objects: Objects, chosen: np.ndarray) -> Scores:
    found = chosen & (objects.detected_as != NOT_DETECTED)
    correct_class = objects.detected_as == objects.thing_ids
    pixels = objects.pixels[found].sum()
    shares = {
        "found": compute_percent(found.sum(), chosen.sum()),
        "pixels": compute_percent(objects.correct[found].sum(), pixels),
        "boxes": compute_percent(objects.pixels[found & correct_class].sum(), pixels),
    }
    if objects.correct_fused is not None:
        shares["pixels_fused"] = compute_percent(objects.correct_fused[found].sum(), pixels)
    return shares


def _concatenate(images: Sequence[Objects]) -> Objects:
    after = [image.correct_fused for image in images if image.correct_fused is not None]
    check_unfused(len(after), len(images))
    return Objects(
        thing_ids=np.concatenate([image.thing_ids for image in images]),
        wide=np.concatenate([image.wide for image in images]),
        pixels=np.concatenate([image.pixels for image in images]),
        correct=np.concatenate([image.correct for image in images]),
        correct_fused=np.concatenate(after) if after else None,
        detected_as=np.concatenate([image.detected_as for image in images]),
    )


def _list_ids(segments: Sequence[GroundTruthSegment]) -> list[int]:
    """Return the ids of the map: void, then the segments."""
    return [0, *(s.id for s in segments)]


def _find_objects(segments: Sequence[GroundTruthSegment]) -> list[int]:
    """Return the M indices of the objects."""
    return [i for i, s in enumerate(segments) if s.cls.is_thing and not s.is_crowd]


def _measure_width(segment: GroundTruthSegment) -> int:
    return segment.window[1].stop - segment.window[1].start
