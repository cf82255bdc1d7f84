"""A score for each image, and the images that a page shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unified_seg.html_reports.evaluation.files import EvaluatedModel

#: Pictures of each choice, such as the worst.
NUM_SHOWN = 3


#: The columns by which images are ranked: the first one that all models have.
MAIN = ("PQ", "mIoU", "F1 of objects")

#: Numbers by image id, by caption.
Columns = dict[str, dict[Any, float]]


def find_main(scores: Sequence[Columns]) -> str:
    """Return the caption of the column by which the images of all models are ranked; "" without any."""
    return next((caption for caption in MAIN if all(caption in columns for columns in scores)), "")


def rank_images(columns: Columns, main: str) -> dict[Any, float]:
    """Return a column by image id, lowest first, without images whose score is undefined."""
    defined = {i: score for i, score in columns.get(main, {}).items() if not np.isnan(score)}
    return dict(sorted(defined.items(), key=lambda item: item[1]))


def score_images(model: EvaluatedModel) -> Columns:
    """Compute the numbers of each image.

    - PQ: panoptic quality of all segments of the image together, whatever their classes;
    - mIoU: over the classes that are in the image or predicted there;
    - F1 of objects: of the detections with a score of at least 0.5, at an IoU of 1/2.
    """
    columns: Columns = {}

    def add(caption: str, image_ids: Sequence[Any], values: np.ndarray) -> None:
        columns[caption] = dict(zip(image_ids, values.tolist()))

    if model.panoptic is not None:
        iou, *counts = model.panoptic.per_image.sum(axis=2).T
        tp, fp, fn = counts
        add("PQ", model.panoptic.image_ids, _percent(iou, tp + (fp + fn) / 2))
        add("segments found", model.panoptic.image_ids, tp)
        add("missed", model.panoptic.image_ids, fn)
        add("wrong", model.panoptic.image_ids, fp)
    if model.semantic is not None:
        common, labeled, predicted = np.moveaxis(model.semantic.per_image, 1, 0)
        iou = _percent(common, labeled + predicted - common)
        occurs = ~np.isnan(iou)
        mean = np.nansum(iou, axis=1) / np.where(occurs.any(axis=1), occurs.sum(axis=1), np.nan)
        add("mIoU", model.semantic.image_ids, mean)
        add("pixels right", model.semantic.image_ids, _percent(common.sum(axis=1), labeled.sum(axis=1)))
    if model.instances is not None:
        tp, fp, fn = model.instances.per_image.T
        add("F1 of objects", model.instances.image_ids, _percent(tp, tp + (fp + fn) / 2))
    return columns


def choose_images(ranking: dict[Any, float]) -> dict[str, list[Any]]:
    """Return the ids of the worst, the median and the best images, each image once.

    Args:
        ranking: score by image id, lowest first.
    """
    ids = list(ranking)
    share = min(NUM_SHOWN, -(-len(ids) // 3))
    worst, best = ids[:share], ids[share:][: -share - 1 : -1]
    rest = ids[share : len(ids) - len(best)]
    start = max(0, (len(rest) - share) // 2)
    chosen = {"worst": worst, "median": rest[start : start + share], "best": best}
    return {name: images for name, images in chosen.items() if images}


def choose_changes(before: dict[Any, float], after: dict[Any, float]) -> tuple[dict[str, list[Any]], dict[Any, float]]:
    """Return the ids of the images whose score falls or rises most, and the changes by id, most negative first."""
    changes = {i: after[i] - score for i, score in before.items() if i in after}
    changes = dict(sorted(changes.items(), key=lambda item: item[1]))
    ids = list(changes)
    losses = [i for i in ids[:NUM_SHOWN] if changes[i] < 0]
    gains = [i for i in ids[: -NUM_SHOWN - 1 : -1] if changes[i] > 0]
    return {name: images for name, images in (("loss", losses), ("gain", gains)) if images}, changes


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part = np.asarray(part, dtype=np.float64)
    return 100 * np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
