"""Panoptic quality, in memory."""

import logging
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.evaluation.base import Output, PanopticGroundTruth, PanopticGroundTruthEvaluator, Record, Scores
from unified_seg.evaluation.model_outputs import find_segment_class, read_panoptic
from unified_seg.evaluation.tables import format_class_table
from unified_seg.ops.metrics.panoptic_quality import PanopticMatches, Segment, compute_panoptic_scores, match_segments
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_arrays

QUALITIES = ("PQ", "SQ", "RQ")

logger = logging.getLogger(__name__)


class PanopticEvaluator(PanopticGroundTruthEvaluator[PanopticMatches]):
    """Scores of "panoptic_seg": PQ, SQ, RQ over all classes, things (_th) and stuff (_st), and PQ-<class> and so on.

    The scores are in percent and follow panopticapi, see `match_segments`. A class that is neither in the ground truth
    nor predicted is NaN and left out of means; a mean over no class is NaN.

    It also writes panoptic_seg.npz: `per_image` (N, 4, C) float64: of each class the summed IoU of its matches, and
    the numbers of true positives, false positives and false negatives; `image_ids` (N,); `class_names` (C,).

    Args:
        table: the classes.
        records: the data set; each record needs pan_seg_file_name and segments_info.
        output_folder: for the file.
        ground_truth: see `PanopticGroundTruthEvaluator`.
    """

    ground_truth_files = ("pan_seg_file_name",)

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        ground_truth: PanopticGroundTruth | None = None,
    ):
        super().__init__(table, records, output_folder, ground_truth)
        self.index_of = {c.dataset_id: i for i, c in enumerate(table.classes)}

    def score_image(self, record: Record, output: Output) -> PanopticMatches:
        gt_ids, segments = self.ground_truth.read(record)
        expected = [Segment(s.id, self.index_of[s.cls.dataset_id], s.is_crowd) for s in segments]
        ids, infos = read_panoptic(record, output)
        predicted = []
        for info in infos:
            cls = find_segment_class(record, info, self.table)
            predicted.append(Segment(int(info["id"]), self.index_of[cls.dataset_id]))
        try:
            return match_segments(gt_ids, expected, ids, predicted, len(self.table.classes))
        except ValueError as error:
            raise ValueError(f"{record['pan_seg_file_name']} and its prediction: {error}") from None

    def summarize(self, items: dict[Any, PanopticMatches]) -> dict[str, Scores]:
        classes = self.table.classes
        self._save(items)
        is_thing = np.array([c.is_thing for c in classes])
        scores = compute_panoptic_scores(reduce(add, items.values()), is_thing)
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

    def _save(self, items: dict[Any, PanopticMatches]) -> None:
        write_arrays(
            self.output_folder / "panoptic_seg.npz",
            per_image=np.stack([np.stack([m.iou, m.tp, m.fp, m.fn]) for m in items.values()]),
            image_ids=np.array(list(items)),
            class_names=np.array([c.name for c in self.table.classes]),
        )
