"""How well an error branch finds the pixels that the head inside it has wrong, beside what that head's doubt finds.

Source: the paper on erroneous pixel prediction, 5.2.1 (Tables 1 and 4). T = thresholds; (H, W) = an image.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, read_semantic_ground_truth
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, SparseCounts, sum_counts
from unified_seg.evaluation.tables import error_table_text
from unified_seg.heads.error_correction.scores import THRESHOLDS, count_by_score, error_scores
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap

logger = logging.getLogger(__name__)

#: Prefix of the metrics, and where the score of a pixel is from: the error branch, or 1 - the head's confidence.
SOURCES = {"": "predicted", "confidence_": "confidence"}
#: The thresholds of Table 1.
SHOWN = tuple(i / 10 for i in range(1, 10))


class ErrorEvaluator(PerImageEvaluator[SparseCounts | None]):
    """Scores of "errors", in percent, from the `semantic_logit_maps` of an ErrorCorrectionHead.

    An error is a pixel whose label before the correction is wrong; it is hard where its softmax probability is above
    `hard_confidence`. A pixel is taken to be wrong where its error probability is above a threshold.

    - error_rate: of the valid pixels, the errors; hard_ratio: of the errors, the hard ones.
    - IoU, precision, recall, hard_recall: of the class "wrong", at `threshold`, which is given too.
    - IoU-<t> and hard_recall-<t>: at t = 0.1 .. 0.9 (Table 1).
    - best_IoU, best_threshold: the highest IoU at 0.01, 0.02 .. 0.99, and where it is.
    - confidence_*: the same with 1 - confidence of the head inside in place of the error probability: what there is
      without an error branch.

    NaN marks what has no pixel. It also writes errors.npz: `counts` (2, 3, T + 1) int64, of the two `sources` the
    pixels by kind (correct, easy and hard errors) and the number of `thresholds` (T,) that their score is above.

    An output without such maps, from sliding windows or several views, has no such scores. Where one is among the
    images there are neither scores nor a file.

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: where the file goes.
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
            raise ValueError(f"{image}: no {sorted(missing)} in its maps of logits, only {sorted(maps)}")
        ground_truth = read_semantic_ground_truth(record, self.table)
        size = (ground_truth.shape[0], ground_truth.shape[1])
        valid = ground_truth != self.table.ignore_label
        errors = maps["uncorrected"].labels(size).cpu().numpy() != ground_truth
        # Rounding may bring a sure pixel beyond 1.
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
            logger.info("errors: %d of %d images have no map of them; no scores", len(items) - len(found), len(items))
            return {}
        counts = self._total(found)
        np.savez_compressed(file, counts=counts, sources=list(SOURCES.values()), thresholds=self.thresholds)
        scores = self._scores(counts)
        logger.info("errors:\n%s", error_table_text(scores))
        return {"errors": scores}

    def _total(self, items: Sequence[SparseCounts]) -> np.ndarray:
        shape = (len(SOURCES), 3, len(self.thresholds) + 1)
        total = sum_counts(items, shape)
        expected = sum(item.valid_pixels for item in items)
        kinds = total.sum(axis=2)
        if (counted := kinds.sum(axis=1).tolist()) != [expected] * len(SOURCES) or (kinds != kinds[0]).any():
            raise ValueError(
                f"right and wrong pixels are {counted}, by {kinds.tolist()}; the ground truth has {expected}"
            )
        return total

    def _scores(self, counts: np.ndarray) -> Scores:
        of = {prefix: error_scores(each) for prefix, each in zip(SOURCES, counts)}
        result = {"error_rate": of[""].error_rate, "hard_ratio": of[""].hard_ratio, "threshold": self.threshold}
        at = self._index(self.threshold)
        for prefix, scores in of.items():
            for metric in ("iou", "precision", "recall", "hard_recall"):
                result[prefix + metric.replace("iou", "IoU")] = getattr(scores, metric)[at]
        for prefix, scores in of.items():
            best = int(np.argmax(np.nan_to_num(scores.iou, nan=-1)))
            known = not np.isnan(scores.iou[best])
            result[f"{prefix}best_IoU"] = scores.iou[best]
            result[f"{prefix}best_threshold"] = self.thresholds[best] if known else math.nan
        for prefix, scores in of.items():
            result |= {f"{prefix}IoU-{t:g}": scores.iou[self._index(t)] for t in SHOWN}
            result |= {f"{prefix}hard_recall-{t:g}": scores.hard_recall[self._index(t)] for t in SHOWN}
        return {name: 100 * float(value) for name, value in result.items()}

    def _index(self, threshold: float) -> int:
        return int(np.searchsorted(self.thresholds, threshold))
