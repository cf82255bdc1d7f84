"""Evaluation of an error branch, beside a threshold on the base head's confidence.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), section 5.2.1 (Tables 1 and 4).
T = thresholds; (H, W) = an image.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, read_semantic_ground_truth
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, SparseCounts, sum_counts
from unified_seg.heads.error_correction.scores import THRESHOLDS, compute_scores, count_by_score, format_scores
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap
from unified_seg_files import write_arrays

logger = logging.getLogger(__name__)

#: By prefix of the metrics, the source of a pixel's score: the error branch, or 1 - the base head's confidence.
SOURCES = {"": "predicted", "confidence_": "confidence"}
#: The thresholds of Table 1.
SHOWN = tuple(i / 10 for i in range(1, 10))


class ErrorEvaluator(PerImageEvaluator[SparseCounts | None]):
    """Scores of the task "errors", in percent, from the `semantic_logit_maps` of an ErrorCorrectionHead.

    An error is a pixel whose label before the correction is wrong; it is hard if the softmax probability of its label
    exceeds `hard_confidence`. It is found if its error probability exceeds a threshold.

    - error_rate: errors / valid pixels; hard_ratio: hard errors / errors.
    - IoU, precision, recall, hard_recall: of the class "wrong", at `threshold`, which is among the scores.
    - IoU-<t> and hard_recall-<t>: at t = 0.1 .. 0.9 (Table 1).
    - best_IoU, best_threshold: the highest IoU at 0.01, 0.02 .. 0.99, and its threshold.
    - confidence_*: the same with 1 - confidence of the base head in place of the error probability, the alternative
      without an error branch.

    NaN marks scores without a pixel. The evaluator also writes errors.npz: `counts` (2, 3, T + 1) int64, for the two
    `sources` the pixels by kind (correct, easy and hard errors) and by the number of `thresholds` (T,) that they
    exceed.

    Outputs of sliding windows and of several views have no such maps. If one is among the images, there are neither
    scores nor a file.

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: of the file.
        threshold: of the error probability, 0 to 1.
        hard_confidence: 0 to 1.
    """

    ground_truth_files = SEMANTIC_FILES

    def __init__(
        self,
        table: ClassTable,
        records: Sequence[Record],
        output_folder: str | Path,
        *,
        threshold: float,
        hard_confidence: float,
    ):
        super().__init__(table, records, output_folder)
        self.threshold = threshold
        self.hard_confidence = hard_confidence
        self.thresholds = np.unique([*THRESHOLDS, threshold])

    def score_image(self, record: Record, output: Output) -> SparseCounts | None:
        if "semantic_logit_maps" not in output:
            return None
        maps: dict[str, LogitMap] = output["semantic_logit_maps"]
        image = f"image {record['image_id']!r}"
        if missing := {"uncorrected", "error"} - maps.keys():
            raise ValueError(f"{image}: semantic_logit_maps must have {sorted(missing)}, got {sorted(maps)}")
        ground_truth = read_semantic_ground_truth(record, self.table)
        size = (ground_truth.shape[0], ground_truth.shape[1])
        valid = ground_truth != self.table.ignore_label
        errors = maps["uncorrected"].labels(size).cpu().numpy() != ground_truth
        # Rounding may bring the confidence beyond 1.
        confidence = maps["uncorrected"].confidence(size).clamp_(max=1).cpu().numpy()
        hard = confidence > self.hard_confidence
        by_source = (maps["error"].probability(size).cpu().numpy(), 1 - confidence)
        try:
            counts = [count_by_score(scores, errors, hard, valid, self.thresholds) for scores in by_source]
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from None
        return SparseCounts.from_array(np.stack(counts), int(np.count_nonzero(valid)))

    def summarize(self, items: dict[Any, SparseCounts | None]) -> dict[str, Scores]:
        file = self.output_folder / "errors.npz"
        file.unlink(missing_ok=True)
        found = [item for item in items.values() if item is not None]
        if len(found) < len(items):
            logger.info("errors: %d of %d images lack their maps; no scores", len(items) - len(found), len(items))
            return {}
        counts = self._total(found)
        write_arrays(file, counts=counts, sources=list(SOURCES.values()), thresholds=self.thresholds)
        scores = self._scores(counts)
        logger.info("%s", format_scores(scores))
        return {"errors": scores}

    def _total(self, items: Sequence[SparseCounts]) -> np.ndarray:
        shape = (len(SOURCES), 3, len(self.thresholds) + 1)
        total = sum_counts(items, shape)
        expected = sum(item.valid_pixels for item in items)
        kinds = total.sum(axis=2)
        if (counted := kinds.sum(axis=1).tolist()) != [expected] * len(SOURCES) or (kinds != kinds[0]).any():
            raise ValueError(f"errors: {expected} valid pixels expected, got {counted}, by kind {kinds.tolist()}")
        return total

    def _scores(self, counts: np.ndarray) -> Scores:
        by_source = {prefix: compute_scores(each) for prefix, each in zip(SOURCES, counts)}
        predicted = by_source[""]
        result = {
            "error_rate": predicted.error_rate,
            "hard_ratio": predicted.hard_ratio,
            "threshold": self.threshold,
        }
        at = self._index(self.threshold)
        for prefix, scores in by_source.items():
            for metric in ("iou", "precision", "recall", "hard_recall"):
                result[prefix + metric.replace("iou", "IoU")] = getattr(scores, metric)[at]
        for prefix, scores in by_source.items():
            best = int(np.argmax(np.nan_to_num(scores.iou, nan=-1)))
            known = not np.isnan(scores.iou[best])
            result[f"{prefix}best_IoU"] = scores.iou[best]
            result[f"{prefix}best_threshold"] = self.thresholds[best] if known else math.nan
        for prefix, scores in by_source.items():
            result |= {f"{prefix}IoU-{t:g}": scores.iou[self._index(t)] for t in SHOWN}
            result |= {f"{prefix}hard_recall-{t:g}": scores.hard_recall[self._index(t)] for t in SHOWN}
        return {name: 100 * float(value) for name, value in result.items()}

    def _index(self, threshold: float) -> int:
        return int(np.searchsorted(self.thresholds, threshold))
