"""Semantic segmentation: mIoU and its relatives from one confusion matrix.

K = classes; N = images; H, W = an image.
"""

import logging
from typing import Any, NamedTuple

import numpy as np

from unified_seg.data.reading import DataError, read_label
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores
from unified_seg.evaluation.outputs import semantic_labels
from unified_seg.evaluation.tables import class_table_text
from unified_seg.functional.confusion import confusion_matrix, semantic_scores

logger = logging.getLogger(__name__)


class ImageConfusion(NamedTuple):
    """One image's confusion matrix without its zeros: of K * K entries a few dozen are used.

    Attributes:
        entries: (M,) int64 indices into the flat matrix.
        counts: (M,) int64 pixels.
        valid_pixels: pixels whose truth is a class, counted apart from the matrix.
    """

    entries: np.ndarray
    counts: np.ndarray
    valid_pixels: int


class SemanticEvaluator(PerImageEvaluator[ImageConfusion]):
    """Scores of "sem_seg": mIoU, fwIoU, mACC, pACC, IoU-<class> and ACC-<class>, in percent.

    Which classes enter the mean is said in `semantic_scores`; NaN marks a class without a value. It also writes
    sem_seg.npz: `confusion` (K, K) int64, rows truth, columns prediction; `per_image` (N, 3, K) int64:
    intersection, true and predicted pixels of each class among the pixels that count; `image_ids` (N,);
    `class_names` (K,).

    Args:
        table: the classes.
        records: the data set; each needs sem_seg_file_name.
        output_folder: where sem_seg.npz goes.
    """

    def score_image(self, record: Record, output: Output) -> ImageConfusion:
        file_name = record["sem_seg_file_name"]
        truth = read_label(file_name)
        labels = semantic_labels(record, output)
        if truth.shape != labels.shape:
            raise DataError(f"{file_name}: labels of {truth.shape}, but the prediction is {labels.shape} (H, W)")
        try:
            confusion = confusion_matrix(truth, labels, self.table.num_semantic, self.table.ignore_label).reshape(-1)
        except ValueError as error:
            raise DataError(f"{file_name}: {error}") from None
        entries = np.flatnonzero(confusion)
        return ImageConfusion(entries, confusion[entries], int(np.count_nonzero(truth != self.table.ignore_label)))

    def summarize(self, items: dict[Any, ImageConfusion]) -> dict[str, Scores]:
        k = self.table.num_semantic
        names = self.table.semantic_names
        total = np.zeros((k, k), dtype=np.int64)
        per_image = np.zeros((len(items), 3, k), dtype=np.int64)
        for counts, item in zip(per_image, items.values()):
            flat = np.zeros(k * k, dtype=np.int64)
            flat[item.entries] = item.counts
            matrix = flat.reshape(k, k)
            counts[:] = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
            total += matrix
        expected = sum(item.valid_pixels for item in items.values())
        if total.sum() != expected:
            raise ValueError(f"the confusion matrix counts {total.sum()} pixels, the truth has {expected}")
        np.savez_compressed(
            self.output_folder / "sem_seg.npz",
            confusion=total,
            per_image=per_image,
            image_ids=np.array(list(items)),
            class_names=np.array(names),
        )
        return {"sem_seg": self._scores(total, names)}

    def _scores(self, confusion: np.ndarray, names: list[str]) -> Scores:
        scores = semantic_scores(confusion)
        result = {
            "mIoU": 100 * scores.mean_iou,
            "fwIoU": 100 * scores.frequency_weighted_iou,
            "mACC": 100 * scores.mean_accuracy,
            "pACC": 100 * scores.pixel_accuracy,
        }
        result |= {f"IoU-{name}": 100 * float(iou) for name, iou in zip(names, scores.iou)}
        result |= {f"ACC-{name}": 100 * float(accuracy) for name, accuracy in zip(names, scores.accuracy)}
        logger.info("Semantic segmentation by class:\n%s", class_table_text(result, ("IoU", "ACC")))
        return result
