"""Evaluation of a correction: is the detail branch right more often than the base head where it takes its place?

(H, W) = an image.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, read_semantic_ground_truth
from unified_seg.evaluation.base import (
    Output,
    PerImageEvaluator,
    Record,
    Scores,
    SparseCounts,
    compute_percent,
    sum_counts,
)
from unified_seg.evaluation.model_outputs import read_labels
from unified_seg.evaluation.tables import format_cell
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap

logger = logging.getLogger(__name__)

# Whether a pixel is marked, was right before the correction, and is right after it.
SHAPE = (2, 2, 2)


class CorrectionEvaluator(PerImageEvaluator[SparseCounts | None]):
    """Scores of the task "correction", in percent, from the labels and the `semantic_logit_maps` of a correction.

    A pixel is marked if its error probability exceeds the threshold, so that the detail branch replaces its label.

    - marked: marked pixels / valid pixels.
    - accuracy_before, accuracy_after: right pixels / marked pixels, by the base head and by the detail branch.
    - fixed, broken: pixels that the correction makes right, and wrong / valid pixels. Their difference is what it
      adds to the pixel accuracy.

    NaN marks scores without a pixel. Outputs of sliding windows and of several views have no such maps. If one is among
    the images, there are no scores.

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: not used.
        threshold: of the error probability, 0 to 1.
    """

    ground_truth_files = SEMANTIC_FILES

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path, *, threshold: float):
        super().__init__(table, records, output_folder)
        self.threshold = threshold

    def score_image(self, record: Record, output: Output) -> SparseCounts | None:
        maps: Mapping[str, LogitMap] = output.get("semantic_logit_maps", {})
        if not {"uncorrected", "error"} <= maps.keys():
            return None
        ground_truth = read_semantic_ground_truth(record, self.table)
        size = (ground_truth.shape[0], ground_truth.shape[1])
        valid = ground_truth != self.table.ignore_label
        marked = maps["error"].probability(size).cpu().numpy() > self.threshold
        before = maps["uncorrected"].labels(size).cpu().numpy() == ground_truth
        # A panoptic fusion may have changed the labels since.
        after = read_labels(record, output.get("unfused", output)) == ground_truth
        kinds = np.ravel_multi_index([kind[valid].astype(int) for kind in (marked, before, after)], SHAPE)
        return SparseCounts.from_array(np.bincount(kinds, minlength=8), int(np.count_nonzero(valid)))

    def summarize(self, items: dict[Any, SparseCounts | None]) -> dict[str, Scores]:
        found = [item for item in items.values() if item is not None]
        if len(found) < len(items):
            return {}
        counts = sum_counts(found, SHAPE)
        marked, total = counts[1].sum(), counts.sum()
        scores = {
            "marked": compute_percent(marked, total),
            "accuracy_before": compute_percent(counts[1, 1].sum(), marked),
            "accuracy_after": compute_percent(counts[1, :, 1].sum(), marked),
            "fixed": compute_percent(counts[:, 0, 1].sum(), total),
            "broken": compute_percent(counts[:, 1, 0].sum(), total),
        }
        logger.info("%s", format_correction(scores))
        return {"correction": scores}


def format_correction(scores: Mapping[str, float]) -> str:
    """Format the scores of the task "correction" as two sentences."""
    marked, before, after, fixed, broken = (
        format_cell(scores[metric]) for metric in ("marked", "accuracy_before", "accuracy_after", "fixed", "broken")
    )
    return (
        f"correction: {marked} % of the pixels are marked as wrong; of these {before} % are right before, {after} % "
        f"after it\nof all pixels it fixes {fixed} % and breaks {broken} %"
    )
