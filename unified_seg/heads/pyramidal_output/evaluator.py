"""Evaluation of the levels of a pyramidal output: does each level specialize in the pixels assigned to it?

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), 5.5.
L = levels, from coarse to fine; K = classes; (H, W) = an image.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, find_semantic_file, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, SparseCounts, sum_counts
from unified_seg.evaluation.tables import format_cell, format_class_table, format_table
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix
from unified_seg.structures.class_table import ClassTable
from unified_seg_files import write_arrays

logger = logging.getLogger(__name__)


class LevelEvaluator(PerImageEvaluator[SparseCounts | None]):
    """Scores of the task "levels", in percent, from the `semantic_maps` of a pyramidal output, before any fusion.

    Each level predicts a class for each of its cells, and a pixel has the classes of the cells that contain its
    center: without the interpolation of "sem_seg". Levels are named by their strides.

    - share_<stride>: pixels assigned to the level / valid pixels.
    - mIoU_<assigned>_<predicting>: of one level's predictions on the pixels assigned to one (Table 9).
    - mIoU and IoU-<class>: of the fused prediction, each pixel by the level assigned to it; mIoU_<stride> and
      IoU_<stride>-<class>: of a level's predictions everywhere. Their difference is Figure 3.

    See `compute_semantic_scores` for the classes of a mean; NaN marks scores without a pixel.

    The evaluator also writes levels.npz: `confusion` (L, L, K, K) int64, pixels by assigned level, predicting level,
    true and predicted class; `strides` (L,); `class_names` (K,).

    Outputs of sliding windows and of several views have no such maps. If one is among the images, there are neither
    scores nor a file.

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: of the file.
        strides: of the L levels.
    """

    ground_truth_files = SEMANTIC_FILES

    def __init__(self, table: ClassTable, records: Sequence[Record], output_folder: str | Path, strides: Sequence[int]):
        super().__init__(table, records, output_folder)
        self.strides = tuple(strides)

    def score_image(self, record: Record, output: Output) -> SparseCounts | None:
        if "semantic_maps" not in output:
            return None
        maps = output["semantic_maps"]
        needed = ["levels", *(f"labels_{stride}" for stride in self.strides)]
        if missing := [name for name in needed if name not in maps]:
            raise ValueError(f"image {record['image_id']!r}: semantic_maps must have {missing}, got {sorted(maps)}")
        ground_truth = read_semantic_ground_truth(record, self.table)
        levels, *labels = (
            maps[name].read((ground_truth.shape[0], ground_truth.shape[1])).cpu().numpy() for name in needed
        )
        num_classes, ignore_label = self.table.num_semantic, self.table.ignore_label
        try:
            confusion = count_level_confusion(ground_truth, levels, labels, num_classes, ignore_label)
        except ValueError as error:
            raise DataError(f"{find_semantic_file(record)}: {error}") from None
        return SparseCounts.from_array(confusion, int(np.count_nonzero(ground_truth != ignore_label)))

    def summarize(self, items: dict[Any, SparseCounts | None]) -> dict[str, Scores]:
        file = self.output_folder / "levels.npz"
        file.unlink(missing_ok=True)
        found = [item for item in items.values() if item is not None]
        if len(found) < len(items):
            logger.info("levels: %d of %d images lack their maps; no scores", len(items) - len(found), len(items))
            return {}
        confusion = self._total(found)
        names = self.table.semantic_names
        write_arrays(file, confusion=confusion, strides=np.array(self.strides), class_names=np.array(names))
        scores = self._scores(confusion)
        metrics = ["IoU", *(f"IoU_{stride}" for stride in self.strides)]
        logger.info("%s\n%s", format_scores(scores), format_class_table(scores, metrics))
        return {"levels": scores}

    def _total(self, items: Sequence[SparseCounts]) -> np.ndarray:
        number, k = len(self.strides), self.table.num_semantic
        total = sum_counts(items, (number, number, k, k))
        expected = sum(item.valid_pixels for item in items)
        if (counted := total.sum(axis=(0, 2, 3)).tolist()) != [expected] * number:
            raise ValueError(f"levels: {expected} valid pixels expected, got {counted}")
        return total

    def _scores(self, confusion: np.ndarray) -> Scores:
        named = list(enumerate(self.strides))
        levels = range(len(named))
        matrices = {"": confusion[levels, levels].sum(axis=0)}
        matrices |= {f"_{stride}": confusion[:, level].sum(axis=0) for level, stride in named}
        overall = {suffix: compute_semantic_scores(matrix) for suffix, matrix in matrices.items()}
        # Every level predicts every pixel: any one counts them.
        pixels = confusion[:, 0].sum(axis=(1, 2))
        total = pixels.sum() or math.nan  # all pixels may be void
        result = {f"share_{stride}": 100 * float(pixels[level] / total) for level, stride in named}
        result |= {f"mIoU{suffix}": 100 * scores.mean_iou for suffix, scores in overall.items()}
        for assigned, stride in named:
            for predicting, other in named:
                result[f"mIoU_{stride}_{other}"] = _mean_iou(confusion[assigned, predicting])
        for suffix, scores in overall.items():
            of_classes = zip(self.table.semantic_names, scores.iou)
            result |= {f"IoU{suffix}-{name}": 100 * float(iou) for name, iou in of_classes}
        return result


def count_level_confusion(
    ground_truth: np.ndarray, levels: np.ndarray, labels: Sequence[np.ndarray], num_classes: int, ignore_label: int
) -> np.ndarray:
    """Count the pixels of every (assigned level, predicting level, true class, predicted class).

    Args:
        ground_truth: (H, W) integers, 0 .. K-1 or `ignore_label`.
        levels: (H, W) integers, 0 .. L-1: the level assigned to each pixel.
        labels: of each of the L levels, (H, W) integers 0 .. K-1: its prediction for every pixel.
        num_classes: K.
        ignore_label: outside 0 .. K-1; such pixels don't count.

    Returns:
        (L, L, K, K) int64. Each predicting level counts each valid pixel once.

    Raises:
        ValueError: maps of different sizes, or an id that is not a level or a class.
    """
    if shapes := {each.shape for each in (levels, *labels)} - {ground_truth.shape}:
        raise ValueError(f"the maps of the levels must have the shape {ground_truth.shape}, got {sorted(shapes)}")
    if levels.size and not 0 <= levels.min() <= levels.max() < len(labels):
        raise ValueError(f"assigned levels must be in 0 .. {len(labels) - 1}, got {levels.min()} .. {levels.max()}")
    result = np.zeros((len(labels), len(labels), num_classes, num_classes), dtype=np.int64)
    for level, of_assigned in enumerate(result):
        here = levels == level
        true = ground_truth[here]
        for matrix, predicted in zip(of_assigned, labels, strict=True):
            matrix[:] = confusion_matrix(true, predicted[here], num_classes, ignore_label)
    return result


def format_scores(scores: Mapping[str, float]) -> str:
    """Format the scores of the task "levels" as Table 9.

    A row is the level that predicts, a column the level that the pixels are assigned to.
    """
    strides = [key.removeprefix("share_") for key in scores if key.startswith("share_")]
    rows = [["assigned level", format_cell(scores["mIoU"]), *(format_cell(scores[f"mIoU_{s}_{s}"]) for s in strides)]]
    for predicting in strides:
        of_assigned = (format_cell(scores[f"mIoU_{assigned}_{predicting}"]) for assigned in strides)
        rows.append([f"level {predicting}", format_cell(scores[f"mIoU_{predicting}"]), *of_assigned])
    rows.append(["share of pixels", format_cell(100.0), *(format_cell(scores[f"share_{s}"]) for s in strides)])
    table = format_table(["predictions of", "all pixels", *(f"pixels of {s}" for s in strides)], rows)
    return f"levels by stride: mIoU of their predictions on the pixels assigned to each\n{table}"


def _mean_iou(confusion: np.ndarray) -> float:
    return 100 * compute_semantic_scores(confusion).mean_iou
