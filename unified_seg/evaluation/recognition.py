"""How often the class of an object is right: by its pixels against by its detection.

Source: what the fusion of semantic and instance segmentation rests on (Panoptic fusion scheme, section IV): a pixel
classifier gives one object several classes, a detector sees it as a whole.

H, W = an image; M = true objects: thing segments that are no crowds.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.evaluation.base import Output, Record, Scores
from unified_seg.evaluation.ground_truth import PanopticGroundTruth, PanopticGroundTruthEvaluator
from unified_seg.evaluation.model_outputs import read_instances, read_labels
from unified_seg.evaluation.tables import recognition_table_text
from unified_seg.ops.id_maps import UnknownIdsError, count_pairs
from unified_seg.structures.class_table import ClassTable

NOT_FOUND = -1
MATCH_IOU = 0.5
WIDE = 1 / 3  # of the image's width

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objects:
    """The true objects of an image, or of all images.

    Attributes:
        thing_ids: (M,) int64 the true classes.
        wide: (M,) bool: their box is wider than a third of the image.
        pixels: (M,) int64.
        right: (M,) int64 pixels with the right semantic class, before the fusion.
        right_fused: (M,) the same after the fusion; None where no fusion changes semantic maps.
        found_as: (M,) int64 the class (thing id) of the detection that found them, NOT_FOUND of the others.
    """

    thing_ids: np.ndarray
    wide: np.ndarray
    pixels: np.ndarray
    right: np.ndarray
    right_fused: np.ndarray | None
    found_as: np.ndarray


class RecognitionEvaluator(PanopticGroundTruthEvaluator[Objects]):
    """Scores of "recognition", in percent: found, pixels, boxes and, where outputs hold `unfused`, pixels_fused.

    - found: share of the true objects that a detection found, of whatever class, see `match_detections`;
    - pixels: of the pixels of the found objects, the share with the right semantic class, before the fusion;
    - pixels_fused: the same after the fusion;
    - boxes: of the same pixels, the share that would be right if each object had the class of its detection.

    So the last three are measured on the same pixels, and a large object counts for more than a small one. Each is
    given for all objects, for wide ones ("pixels_wide"), by category where there are categories
    ("pixels_category-vehicle") and by class ("pixels-car"). What no object is there for is NaN; a data set without
    objects gets no scores, and a warning says so.

    Args:
        table: the classes; each with a semantic id of its own.
        records: the data set; each needs pan_seg_file_name and segments_info.
        output_folder: of the data set; nothing is written there.
        score_threshold: of the detections that count, the fusion's.
        ground_truth: the reader of the ground truth that evaluators of one data set share.
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
        ids, segments = self.ground_truth.of(record)
        things = [segments[i] for i in _objects(segments)]
        before = output.get("unfused", output)
        found = read_instances(record, before, with_masks=True)
        return Objects(
            thing_ids=np.array([s.cls.thing_id for s in things], dtype=np.int64),
            wide=np.array([_width(s) > WIDE * record["width"] for s in things], dtype=bool),
            pixels=np.array([s.area for s in things], dtype=np.int64),
            right=self._right_pixels(record, before, ids, segments),
            right_fused=self._right_pixels(record, output, ids, segments) if "unfused" in output else None,
            found_as=match_detections(ids, segments, found, self.score_threshold),
        )

    def _right_pixels(
        self, record: Record, output: Output, ids: np.ndarray, segments: list[GroundTruthSegment]
    ) -> np.ndarray:
        """(M,) pixels of each object whose semantic id is that of its class."""
        labels = read_labels(record, output)
        try:
            counts = count_pairs(ids, labels, _all_ids(segments), range(self.table.num_semantic))
        except UnknownIdsError as error:
            raise ValueError(
                f"image {record['image_id']!r}: the prediction holds the semantic ids {error.ids}, "
                f"but the classes are 0 .. {self.table.num_semantic - 1}"
            ) from None
        things = _objects(segments)
        return counts[1:][things, [segments[i].cls.semantic_id for i in things]]

    def summarize(self, items: dict[Any, Objects]) -> dict[str, Scores]:
        objects = _joined(list(items.values()))
        if not len(objects.thing_ids):
            logger.warning("no true object in %d images: there is nothing to recognize", len(items))
            return {}
        things = self.table.things
        category_of = np.array([c.category for c in things])[objects.thing_ids]
        chosen = {"": np.ones_like(objects.wide), "_wide": objects.wide}
        categories = dict.fromkeys(c.category for c in things)
        if len(categories) < len(things):
            chosen |= {f"_category-{name}": category_of == name for name in categories}
        chosen |= {f"-{c.name}": objects.thing_ids == c.thing_id for c in things}
        scores: Scores = {}
        for suffix, which in chosen.items():
            scores |= {name + suffix: value for name, value in _shares(objects, which).items()}
        logger.info("Recognition of objects, %% of the found ones' pixels:\n%s", recognition_table_text(scores))
        return {"recognition": scores}


def match_detections(
    ids: np.ndarray, segments: Sequence[GroundTruthSegment], detections: Instances, score_threshold: float
) -> np.ndarray:
    """Which objects are found, and as what.

    Detections take their object in the order of their scores, equal ones by index: that of the largest intersection
    over union of masks, at least 1/2, among those that nobody took. Their class does not matter.

    Args:
        ids: (H, W) segment ids.
        segments: all of the map; M of them are objects.
        detections: with `pred_masks` as BoxMasks.
        score_threshold: detections below it find nothing.

    Returns:
        (M,) int64 thing ids, NOT_FOUND for objects that no detection took.
    """
    things = _objects(segments)
    result = np.full(len(things), NOT_FOUND, dtype=np.int64)
    areas = np.array([segments[i].area for i in things], dtype=np.int64)
    masks = list(detections.pred_masks)
    for i in detections.scores.argsort(descending=True, stable=True).tolist():
        if float(detections.scores[i]) < score_threshold or not things:
            break
        window, mask = masks[i]
        inside = mask.numpy().view(np.uint8)
        common = count_pairs(ids[window], inside, _all_ids(segments), (0, 1))[1:][things, 1]
        iou = common / (areas + inside.sum() - common)
        iou[result != NOT_FOUND] = 0
        best = iou.argmax()
        if iou[best] >= MATCH_IOU:
            result[best] = int(detections.pred_classes[i])
    return result


def _shares(objects: Objects, chosen: np.ndarray) -> Scores:
    found = chosen & (objects.found_as != NOT_FOUND)
    right_class = objects.found_as == objects.thing_ids
    pixels = objects.pixels[found].sum()
    shares = {
        "found": _percent(found.sum(), chosen.sum()),
        "pixels": _percent(objects.right[found].sum(), pixels),
        "boxes": _percent(objects.pixels[found & right_class].sum(), pixels),
    }
    if objects.right_fused is not None:
        shares["pixels_fused"] = _percent(objects.right_fused[found].sum(), pixels)
    return shares


def _percent(part: int, whole: int) -> float:
    return 100 * float(part) / float(whole) if whole else float("nan")


def _joined(images: Sequence[Objects]) -> Objects:
    after = [image.right_fused for image in images if image.right_fused is not None]
    if after and len(after) != len(images):
        raise ValueError(f"{len(after)} of {len(images)} images have a result before the fusion")
    return Objects(
        thing_ids=np.concatenate([image.thing_ids for image in images]),
        wide=np.concatenate([image.wide for image in images]),
        pixels=np.concatenate([image.pixels for image in images]),
        right=np.concatenate([image.right for image in images]),
        right_fused=np.concatenate(after) if after else None,
        found_as=np.concatenate([image.found_as for image in images]),
    )


def _all_ids(segments: Sequence[GroundTruthSegment]) -> list[int]:
    """Of the map: void, then the segments."""
    return [0, *(s.id for s in segments)]


def _objects(segments: Sequence[GroundTruthSegment]) -> list[int]:
    """The M indices of the objects."""
    return [i for i, s in enumerate(segments) if s.cls.is_thing and not s.is_crowd]


def _width(segment: GroundTruthSegment) -> int:
    return segment.window[1].stop - segment.window[1].start
