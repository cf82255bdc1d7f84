"""Panoptic quality, in memory."""

import logging
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from unified_seg.data.coco.panoptic_segments import GroundTruthSegment
from unified_seg.evaluation.base import (
    Output,
    PanopticGroundTruthEvaluator,
    Record,
    Scores,
    SparseCounts,
    sum_counts,
)
from unified_seg.evaluation.model_outputs import find_segment_class, read_panoptic
from unified_seg.evaluation.tables import format_class_table
from unified_seg.ops.metrics.panoptic_quality import (
    PanopticMatches,
    Segment,
    SegmentPairs,
    compute_panoptic_scores,
    pair_segments,
)
from unified_seg.ops.metrics.segment_errors import KINDS, count_segment_errors, find_segment_errors
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_arrays

QUALITIES = ("PQ", "SQ", "RQ")

logger = logging.getLogger(__name__)


class ImageSegments(NamedTuple):
    """The segments of one image.

    Attributes:
        matches: counts by class.
        errors: (K, 2, C) false negatives and false positives by kind and class, see `count_segment_errors`.
        classes, areas, iou: (S,) of each ground-truth segment without crowds its class index, its area in pixels and
            the intersection over union of its match, 0 without one.
    """

    matches: PanopticMatches
    errors: SparseCounts
    classes: np.ndarray
    areas: np.ndarray
    iou: np.ndarray


class PanopticEvaluator(PanopticGroundTruthEvaluator[ImageSegments]):
    """Scores of "panoptic_seg": PQ, SQ, RQ over all classes, things (_th) and stuff (_st), and PQ-<class> and so on.

    The scores are in percent and follow panopticapi, see `match_segments`. A class that is neither in the ground truth
    nor predicted is NaN and left out of means; a mean over no class is NaN.

    It also writes panoptic_seg.npz: `per_image` (N, 4, C) float64: of each class the summed IoU of its matches, and
    the numbers of true positives, false positives and false negatives; `image_ids` (N,); `class_names` (C,). And
    segments.npz: `errors` (K, 2, C) int64, false negatives and false positives by `kinds` (K,) and class, and
    `errors_per_image` (N, K) their numbers, see `find_segment_errors`; of all S ground-truth segments without crowds
    `classes` (S,), `areas` (S,) in pixels and `iou` (S,) of the match, 0 without one.

    Args:
        table: the classes.
        records: the data set; each record needs pan_seg_file_name and segments_info.
        output_folder: for the file.
        ground_truth: see `PanopticGroundTruthEvaluator`.
    """

    ground_truth_files = ("pan_seg_file_name",)

    def score_image(self, record: Record, output: Output) -> ImageSegments:
        gt_ids, segments = self.ground_truth.read(record)
        pairs = pair_record(record, output, self.table, gt_ids, segments)
        num_classes = len(self.table.classes)
        counts = count_segment_errors(find_segment_errors(pairs), pairs, num_classes)
        counted = np.array([not segment.is_crowd for segment in segments], dtype=bool)
        iou = np.where(pairs.matched, pairs.iou, 0).max(axis=1, initial=0)
        return ImageSegments(
            pairs.count(num_classes),
            SparseCounts.from_array(counts, 0),
            pairs.gt_classes[counted].astype(np.int32),
            pairs.gt_areas[counted],
            iou[counted].astype(np.float32),
        )

    def summarize(self, items: dict[Any, ImageSegments]) -> dict[str, Scores]:
        classes = self.table.classes
        self._save(items)
        is_thing = np.array([c.is_thing for c in classes])
        scores = compute_panoptic_scores(reduce(add, (item.matches for item in items.values())), is_thing)
        groups = {"": scores.all, "_th": scores.things, "_st": scores.stuff}
        groups |= {f"-{c.name}": quality for c, quality in zip(classes, scores.per_class)}
        result = {
            f"{name}{suffix}": 100 * value
            for suffix, quality in groups.items()
            for name, value in zip(QUALITIES, quality)
        }
        if not all(0 <= value <= 100 for value in result.values() if not np.isnan(value)):
            raise ValueError(f"panoptic quality must be in [0, 100], got {result}")
        logger.info("Panoptic quality by class:\n%s", format_class_table(result, QUALITIES))
        return {"panoptic_seg": result}

    def _save(self, items: dict[Any, ImageSegments]) -> None:
        matches = [item.matches for item in items.values()]
        write_arrays(
            self.output_folder / "panoptic_seg.npz",
            per_image=np.stack([np.stack([m.iou, m.tp, m.fp, m.fn]) for m in matches]),
            image_ids=np.array(list(items)),
            class_names=np.array([c.name for c in self.table.classes]),
        )
        shape = (len(KINDS), 2, len(self.table.classes))
        per_image = [item.errors.to_array(shape).sum(axis=(1, 2)) for item in items.values()]
        segments = {name: [getattr(item, name) for item in items.values()] for name in ("classes", "areas", "iou")}
        write_arrays(
            self.output_folder / "segments.npz",
            errors=sum_counts((item.errors for item in items.values()), shape),
            errors_per_image=np.stack(per_image),
            kinds=np.array(KINDS),
            **{name: np.concatenate(values) for name, values in segments.items()},
        )


def pair_record(
    record: Record, output: Output, table: ClassTable, gt_ids: np.ndarray, segments: Sequence[GroundTruthSegment]
) -> SegmentPairs:
    """Match the predicted segments of an output to the ground truth; classes are their indices in the table.

    Args:
        record, output: of one image.
        table: the classes.
        gt_ids, segments: the ground truth, see `PanopticGroundTruth`.

    Raises:
        ValueError: the prediction has another size than the image, an unknown class, or segments that are not those of
            its map.
    """
    index_of = {c.dataset_id: i for i, c in enumerate(table.classes)}
    expected = [Segment(s.id, index_of[s.cls.dataset_id], s.is_crowd) for s in segments]
    ids, infos = read_panoptic(record, output)
    predicted = [
        Segment(int(info["id"]), index_of[find_segment_class(record, info, table).dataset_id]) for info in infos
    ]
    try:
        return pair_segments(gt_ids, expected, ids, predicted)
    except ValueError as error:
        raise ValueError(f"{record['pan_seg_file_name']} and its prediction: {error}") from None
