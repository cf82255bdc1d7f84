"""What each level of a pyramidal output contributes: does it specialize in the pixels that are assigned to it?

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation, 5.5.
L = levels, from coarse to fine; K = classes; H, W = an image.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.semantic_labels import SEMANTIC_FILES, find_semantic_file, read_semantic_ground_truth
from unified_seg.data.problems import DataError
from unified_seg.evaluation.base import Output, PerImageEvaluator, Record, Scores, SparseCounts, sum_counts
from unified_seg.evaluation.tables import class_table_text, level_table_text
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix
from unified_seg.structures.class_table import ClassTable

logger = logging.getLogger(__name__)


class LevelEvaluator(PerImageEvaluator[SparseCounts | None]):
    """Scores of "levels", in percent, from the `semantic_maps` of a pyramidal output, before any panoptic fusion.

    Each level answers for each of its cells, and a pixel has the answers of the cells that its center lies in: without
    the interpolation that "sem_seg" has. Levels are named by their strides.

    - share_<stride>: of the valid pixels, those that are assigned to the level.
    - mIoU_<assigned>_<answering>: of one level's answers on the pixels assigned to one (Table 9).
    - mIoU and IoU-<class>: of the fused answer, each pixel by the level assigned to it; mIoU_<stride> and
      IoU_<stride>-<class>: of a level's answers everywhere. Their difference is Figure 3.

    Which classes enter a mean is said in `compute_semantic_scores`; NaN marks what has no pixel.

    It also writes levels.npz: `confusion` (L, L, K, K) int64, pixels by assigned level, answering level, true and
    predicted class; `strides` (L,); `class_names` (K,).

    An output without such maps, from sliding windows or several views, has no levels. Where one is among the images
    there are neither scores nor a file.

    Args:
        table: the classes.
        records: the data set; each needs a semantic ground truth, see `read_semantic_ground_truth`.
        output_folder: where the file goes.
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
            raise ValueError(f"image {record['image_id']!r}: no {missing} in its semantic maps, only {sorted(maps)}")
        ground_truth = read_semantic_ground_truth(record, self.table)
        levels, *labels = (
            maps[name].read((ground_truth.shape[0], ground_truth.shape[1])).cpu().numpy() for name in needed
        )
        try:
            confusion = level_confusion(ground_truth, levels, labels, self.table.num_semantic, self.table.ignore_label)
        except ValueError as error:
            raise DataError(f"{find_semantic_file(record)}: {error}") from None
        return SparseCounts.from_array(confusion, int(np.count_nonzero(ground_truth != self.table.ignore_label)))

    def summarize(self, items: dict[Any, SparseCounts | None]) -> dict[str, Scores]:
        file = self.output_folder / "levels.npz"
        file.unlink(missing_ok=True)
        found = [item for item in items.values() if item is not None]
        if len(found) < len(items):
            logger.info(
                "levels: %d of %d images have no single map of them; no scores", len(items) - len(found), len(items)
            )
            return {}
        confusion = self._total(found)
        names = self.table.semantic_names
        np.savez_compressed(file, confusion=confusion, strides=np.array(self.strides), class_names=np.array(names))
        scores = self._scores(confusion)
        metrics = ["IoU", *(f"IoU_{stride}" for stride in self.strides)]
        logger.info("levels:\n%s\n%s", level_table_text(scores), class_table_text(scores, metrics))
        return {"levels": scores}

    def _total(self, items: Sequence[SparseCounts]) -> np.ndarray:
        number, k = len(self.strides), self.table.num_semantic
        total = sum_counts(items, (number, number, k, k))
        expected = sum(item.valid_pixels for item in items)
        if (counted := total.sum(axis=(0, 2, 3)).tolist()) != [expected] * number:
            raise ValueError(f"the levels answer for {counted} pixels, the ground truth has {expected}")
        return total

    def _scores(self, confusion: np.ndarray) -> Scores:
        named = list(enumerate(self.strides))
        levels = range(len(named))
        matrices = {"": confusion[levels, levels].sum(axis=0)}
        matrices |= {f"_{stride}": confusion[:, level].sum(axis=0) for level, stride in named}
        overall = {suffix: compute_semantic_scores(matrix) for suffix, matrix in matrices.items()}
        # Every level answers for the same pixels: any one counts them.
        pixels = confusion[:, 0].sum(axis=(1, 2))
        result = {f"share_{stride}": 100 * float(pixels[level] / pixels.sum()) for level, stride in named}
        result |= {f"mIoU{suffix}": 100 * scores.mean_iou for suffix, scores in overall.items()}
        for assigned, stride in named:
            for answering, other in named:
                result[f"mIoU_{stride}_{other}"] = _mean_iou(confusion[assigned, answering])
        for suffix, scores in overall.items():
            of_classes = zip(self.table.semantic_names, scores.iou)
            result |= {f"IoU{suffix}-{name}": 100 * float(iou) for name, iou in of_classes}
        return result


def level_confusion(
    ground_truth: np.ndarray, levels: np.ndarray, labels: Sequence[np.ndarray], num_classes: int, ignore_label: int
) -> np.ndarray:
    """Count the pixels of every (assigned level, answering level, true class, predicted class).

    Args:
        ground_truth: (H, W) integers, 0 .. K-1 or `ignore_label`.
        levels: (H, W) integers, 0 .. L-1: the level assigned to each pixel.
        labels: of each of the L levels, (H, W) integers 0 .. K-1: its answer for every pixel.
        num_classes: K.
        ignore_label: outside 0 .. K-1; such pixels don't count.

    Returns:
        (L, L, K, K) int64. Each answering level counts each valid pixel once.

    Raises:
        ValueError: maps of different sizes, or an id that is no level or no class.
    """
    if shapes := {each.shape for each in (levels, *labels)} - {ground_truth.shape}:
        raise ValueError(f"the ground truth has shape {ground_truth.shape}, the maps of the levels {sorted(shapes)}")
    if levels.size and not 0 <= levels.min() <= levels.max() < len(labels):
        raise ValueError(f"assigned levels from {levels.min()} to {levels.max()}, but there are {len(labels)} levels")
    result = np.zeros((len(labels), len(labels), num_classes, num_classes), dtype=np.int64)
    for level, of_assigned in enumerate(result):
        here = levels == level
        true = ground_truth[here]
        for matrix, answers in zip(of_assigned, labels, strict=True):
            matrix[:] = confusion_matrix(true, answers[here], num_classes, ignore_label)
    return result


def _mean_iou(confusion: np.ndarray) -> float:
    return 100 * compute_semantic_scores(confusion).mean_iou if confusion.any() else math.nan
