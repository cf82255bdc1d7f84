"""Scores of semantic segmentation, from one confusion matrix.

K = classes; N = images; H, W = an image.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.config.heads import earlier_predictions
from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, find_semantic_file, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import (
    Output,
    PerImageEvaluator,
    Record,
    Scores,
    SparseCounts,
    check_unfused,
    sum_counts,
)
from unified_seg.evaluation.confidence import count_confidences
from unified_seg.evaluation.model_outputs import read_labels
from unified_seg.evaluation.tables import format_class_table
from unified_seg.ops.levels import LEVELS
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix, merge_categories
from unified_seg_files import write_arrays

#: The key of an image's item with the counts of `count_confidences`, and of the file with those of all images.
CONFIDENCE = "confidence"
CONFIDENCE_FILE = "sem_seg_confidence.npz"

logger = logging.getLogger(__name__)


class SemanticEvaluator(PerImageEvaluator[dict[str, SparseCounts]]):
    """Scores of "sem_seg": mIoU, fwIoU, mACC, pACC, IoU-<class> and ACC-<class>, in percent.

    `compute_semantic_scores` defines which classes the means include; a class without a value is NaN, and if all
    pixels are void so are all scores. `notes` has the share of void pixels, which no score includes. If the classes
    have categories there are also mIoU_category and cIoU-<category>, see `merge_categories`. Earlier predictions have
    the same scores: "sem_seg_unfused" is the prediction before the fusion, if the outputs have `unfused`;
    "sem_seg_<name>" that of a base head, if the `semantic_logit_maps` of all outputs have the `earlier_prediction`
    <name> of its wrapper head.

    For each of these tasks it also writes a file <task>.npz: `confusion` (K, K) int64, rows ground truth, columns
    prediction; `per_image` (N, 3, K) int64: pixels of each class in the intersection, the ground truth and the
    prediction, of labeled pixels; `image_ids` (N,); `class_names` (K,). If the outputs have logits, the file
    sem_seg_confidence.npz has `counts` (256, 2), see `count_confidences`.

    Args:
        table: the classes.
        records: the data set; each record needs semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: for the files.
    """

    ground_truth_files = SEMANTIC_FILES

    def score_image(self, record: Record, output: Output) -> dict[str, SparseCounts]:
        ground_truth = read_semantic_ground_truth(record, self.table)
        valid_pixels = int(np.count_nonzero(ground_truth != self.table.ignore_label))
        result = {}
        for task, labels in _read_predictions(record, output).items():
            try:
                confusion = confusion_matrix(ground_truth, labels, self.table.num_semantic, self.table.ignore_label)
            except ValueError as error:
                raise DataError(f"{find_semantic_file(record)}: {error}") from None
            result[task] = SparseCounts.from_array(confusion, valid_pixels)
        confidences = count_confidences(output, ground_truth, self.table.ignore_label)
        if confidences is not None:
            result[CONFIDENCE] = SparseCounts.from_array(confidences, valid_pixels)
        return result

    def summarize(self, items: dict[Any, dict[str, SparseCounts]]) -> dict[str, Scores]:
        results = {}
        tasks = ("sem_seg", "sem_seg_unfused", *(f"sem_seg_{name}" for name in earlier_predictions()))
        for task in tasks:
            of_task = {image_id: item[task] for image_id, item in items.items() if task in item}
            file = self.output_folder / f"{task}.npz"
            file.unlink(missing_ok=True)
            if not of_task:
                continue
            if task == "sem_seg_unfused":
                check_unfused(len(of_task), len(items))
            if len(of_task) != len(items):
                # With sliding windows only images that fit into one window have maps of logits.
                logger.info("%s: no scores, since %d of %d images have it", task, len(of_task), len(items))
                continue
            confusion = self._save(file, of_task)
            results[task] = self._compute_scores(confusion)
            if task == "sem_seg":
                self.notes = [self._describe_void(of_task)]
            logger.info("%s by class:\n%s", task, format_class_table(results[task], ("IoU", "ACC")))
        self._save_confidences([item[CONFIDENCE] for item in items.values() if CONFIDENCE in item])
        return results

    def _save_confidences(self, items: Sequence[SparseCounts]) -> None:
        file = self.output_folder / CONFIDENCE_FILE
        file.unlink(missing_ok=True)
        if items:
            write_arrays(file, counts=sum_counts(items, (LEVELS, 2)))

    def _describe_void(self, items: dict[Any, SparseCounts]) -> str:
        """Return a line with the share of the pixels that have no class in the ground truth, and log it."""
        pixels = sum(self.records[image_id]["height"] * self.records[image_id]["width"] for image_id in items)
        void = 1 - sum(item.valid_pixels for item in items.values()) / pixels
        line = f"{100 * void:.2f} % of the pixels are void in the semantic ground truth, and not scored"
        logger.info("sem_seg: %s", line)
        return line

    def _save(self, file: Path, items: dict[Any, SparseCounts]) -> np.ndarray:
        """Write the file of a task, and return its confusion matrix."""
        k = self.table.num_semantic
        total = np.zeros((k, k), dtype=np.int64)
        per_image = np.zeros((len(items), 3, k), dtype=np.int64)
        for counts, item in zip(per_image, items.values()):
            matrix = item.to_array((k, k))
            counts[:] = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
            total += matrix
        expected = sum(item.valid_pixels for item in items.values())
        if total.sum() != expected:
            raise ValueError(f"the confusion matrix has {total.sum()} pixels, but the ground truth {expected}")
        write_arrays(
            file,
            confusion=total,
            per_image=per_image,
            image_ids=np.array(list(items)),
            class_names=np.array(self.table.semantic_names),
        )
        return total

    def _compute_scores(self, confusion: np.ndarray) -> Scores:
        scores = compute_semantic_scores(confusion)
        names = self.table.semantic_names
        result = {
            "mIoU": 100 * scores.mean_iou,
            "fwIoU": 100 * scores.frequency_weighted_iou,
            "mACC": 100 * scores.mean_accuracy,
            "pACC": 100 * scores.pixel_accuracy,
        }
        result |= {f"IoU-{name}": 100 * float(iou) for name, iou in zip(names, scores.iou)}
        result |= {f"ACC-{name}": 100 * float(accuracy) for name, accuracy in zip(names, scores.accuracy)}
        categories = self.table.categories
        # Things that share a semantic id have no category in common, and there are more classes than ids.
        if len(categories) < self.table.num_semantic == len(self.table.classes):
            of_categories = compute_semantic_scores(merge_categories(confusion, self.table.category_of))
            result["mIoU_category"] = 100 * of_categories.mean_iou
            result |= {f"cIoU-{name}": 100 * float(iou) for name, iou in zip(categories, of_categories.iou)}
        return result


def _read_predictions(record: Record, output: Output) -> dict[str, np.ndarray]:
    """Return the semantic maps (H, W) of an output, by task."""
    predictions = {"sem_seg": read_labels(record, output)}
    if "unfused" in output:
        predictions["sem_seg_unfused"] = read_labels(record, output["unfused"])
    maps = output.get("semantic_logit_maps", {})
    for name in (name for name in earlier_predictions() if name in maps):
        predictions[f"sem_seg_{name}"] = maps[name].labels(predictions["sem_seg"].shape).cpu().numpy()
    return predictions
