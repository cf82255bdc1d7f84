"""Semantic segmentation: mIoU and its relatives from one confusion matrix.

K = classes; N = images; H, W = an image.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unified_seg.config.heads import earlier_predictions
from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, find_semantic_file, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores
from unified_seg.evaluation.model_outputs import read_labels
from unified_seg.evaluation.tables import class_table_text
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix, merge_categories

logger = logging.getLogger(__name__)


class ImageConfusion(NamedTuple):
    """One image's confusion matrix, or several, without zeros: of K * K entries a few dozen are used.

    Attributes:
        entries: (M,) int64 indices into the flat matrix.
        counts: (M,) int64 pixels.
        valid_pixels: pixels whose ground truth is a class, counted apart from the matrix.
    """

    entries: np.ndarray
    counts: np.ndarray
    valid_pixels: int

    @classmethod
    def of(cls, confusion: np.ndarray, valid_pixels: int) -> "ImageConfusion":
        """Of a matrix of any shape."""
        entries = np.flatnonzero(confusion)
        return cls(entries, confusion.reshape(-1)[entries], valid_pixels)


class SemanticEvaluator(PerImageEvaluator[dict[str, ImageConfusion]]):
    """Scores of "sem_seg": mIoU, fwIoU, mACC, pACC, IoU-<class> and ACC-<class>, in percent.

    Which classes enter the mean is said in `compute_semantic_scores`; NaN marks a class without a value. Where the classes
    have categories, also mIoU_category and cIoU-<category>, see `merge_categories`. The same scores of earlier
    answers are "sem_seg_unfused", where the outputs hold `unfused`: what the semantic head said before the fusion; and,
    where the `semantic_logit_maps` of all outputs hold "uncorrected" or "ungrouped", "sem_seg_uncorrected" and
    "sem_seg_ungrouped": what the head inside an ErrorCorrectionHead or a ConfusionGroupHead said.

    For each of them it also writes a file, sem_seg.npz and so on: `confusion` (K, K) int64, rows ground truth, columns
    prediction; `per_image` (N, 3, K) int64: intersection, true and predicted pixels of each class among the pixels that
    count; `image_ids` (N,); `class_names` (K,).

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: where the files go.
    """

    ground_truth_files = SEMANTIC_FILES

    def score_image(self, record: Record, output: Output) -> dict[str, ImageConfusion]:
        ground_truth = read_semantic_ground_truth(record, self.table)
        valid_pixels = int(np.count_nonzero(ground_truth != self.table.ignore_label))
        result = {}
        for task, labels in _answers(record, output).items():
            try:
                confusion = confusion_matrix(ground_truth, labels, self.table.num_semantic, self.table.ignore_label)
            except ValueError as error:
                raise DataError(f"{find_semantic_file(record)}: {error}") from None
            result[task] = ImageConfusion.of(confusion, valid_pixels)
        return result

    def summarize(self, items: dict[Any, dict[str, ImageConfusion]]) -> dict[str, Scores]:
        results = {}
        earlier = {f"sem_seg_{name}": step for name, step in earlier_predictions().items()}
        for task in ("sem_seg", "sem_seg_unfused", *earlier):
            of_task = {image_id: item[task] for image_id, item in items.items() if task in item}
            file = self.output_folder / f"{task}.npz"
            file.unlink(missing_ok=True)
            if not of_task:
                continue
            if len(of_task) != len(items):
                answered = f"{len(of_task)} of {len(items)} images have a result before"
                if task == "sem_seg_unfused":
                    raise ValueError(f"{answered} the fusion")
                # In sliding windows only images that fit into one have maps of logits.
                logger.info("%s: %s the %s; no scores", task, answered, earlier[task])
                continue
            confusion = self._save(file, of_task)
            results[task] = self._scores(confusion)
            logger.info("%s by class:\n%s", task, class_table_text(results[task], ("IoU", "ACC")))
        return results

    def _save(self, file: Path, items: dict[Any, ImageConfusion]) -> np.ndarray:
        """Write a task's file; its confusion matrix."""
        k = self.table.num_semantic
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
            raise ValueError(f"the confusion matrix counts {total.sum()} pixels, the ground truth has {expected}")
        np.savez_compressed(
            file,
            confusion=total,
            per_image=per_image,
            image_ids=np.array(list(items)),
            class_names=np.array(self.table.semantic_names),
        )
        return total

    def _scores(self, confusion: np.ndarray) -> Scores:
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
        # Where things share a semantic id there are more classes than ids, and the id is of no category.
        if len(categories) < self.table.num_semantic == len(self.table.classes):
            of_categories = compute_semantic_scores(merge_categories(confusion, self.table.category_of))
            result["mIoU_category"] = 100 * of_categories.mean_iou
            result |= {f"cIoU-{name}": 100 * float(iou) for name, iou in zip(categories, of_categories.iou)}
        return result


def _answers(record: Record, output: Output) -> dict[str, np.ndarray]:
    """The semantic maps (H, W) of an output, by task."""
    answers = {"sem_seg": read_labels(record, output)}
    if "unfused" in output:
        answers["sem_seg_unfused"] = read_labels(record, output["unfused"])
    maps = output.get("semantic_logit_maps", {})
    for name in (name for name in earlier_predictions() if name in maps):
        answers[f"sem_seg_{name}"] = maps[name].labels(answers["sem_seg"].shape).cpu().numpy()
    return answers
