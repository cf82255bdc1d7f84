"""How sure predictions in files are: confidences beside semantic PNGs, and soft masks in COCO's instance results.

Every error is a DataError that names the file, the record and the cause. H, W = an image, K = semantic classes.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unified_seg.data.coco.prediction_files import Detection
from unified_seg.data.io.label_files import check_size, read_label
from unified_seg.data.problems import DataError
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.logit_map import LogitMap
from unified_seg.structures.soft_masks import SoftMasks

# Of a record of the instance results: rows of probabilities inside its bbox.
SOFT_MASK = "soft_mask"
# The largest side of a soft mask.
MAX_SIDE = 1024


class Confidence(NamedTuple):
    """How sure a semantic map is, see `unified_seg.fusion.evidence.SemanticEvidence`."""

    confidences: Tensor
    category_confidences: Tensor
    cell: float


def read_confidence(path: Path, labels: Tensor, groups: Tensor, stride: float) -> Confidence:
    """Read the confidence of a semantic map.

    Args:
        path: without suffix; the file is a .png of 8 bits, the probability of the label from 0 to 255, or a .npy of the
            probabilities (K, h, w) of all classes in their order, at any stride.
        labels: (H, W) semantic ids; others are void.
        groups: (K,) int64, the group of each class, from 0.
        stride: pixels of the image that a cell of the network's output had, for a .png.

    Raises:
        DataError: neither file is there, or it is not as described.
    """
    size = (labels.shape[0], labels.shape[1])
    png, npy = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.npy")
    if png.is_file():
        levels = check_size(read_label(png), size, png)
        if levels.dtype != np.uint8:
            raise DataError(f"{png}: confidences must have 8 bits")
        return Confidence(torch.from_numpy(levels), torch.from_numpy(levels), stride)
    if not npy.is_file():
        raise DataError(f"{png}: there is no such file, and no {npy.name}, the confidence of a semantic map")
    probabilities = _read_probabilities(npy, len(groups), size)
    height, width = probabilities.shape[1:]
    logits = torch.from_numpy(probabilities).clamp(min=1e-6).log()
    # As a network whose input has the size of its output.
    map = LogitMap.from_logits(logits, 1, (height, width))
    known = torch.where((labels >= 0) & (labels < len(groups)), labels, 0)
    return Confidence(*map.levels(known.to(torch.int16), groups), map.find_cell(size))


def _read_probabilities(path: Path, classes: int, size: tuple[int, int]) -> np.ndarray:
    try:
        # Mapped: a header may claim more values than memory holds. Pickled objects are refused.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a .npy file: {error}") from None
    if values.ndim != 3 or len(values) != classes or not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            f"{path}: expected floats ({classes}, h, w), the probabilities of {classes} classes, got {values.dtype} "
            f"{values.shape}"
        )
    if not (0 < values.shape[1] <= size[0] and 0 < values.shape[2] <= size[1]):
        raise DataError(f"{path}: {values.shape[1]}x{values.shape[2]} cells for an image of {size[0]}x{size[1]}")
    probabilities = np.array(values, dtype=np.float32)
    if not (np.isfinite(probabilities).all() and probabilities.min() >= 0 and probabilities.max() <= 1.001):
        raise DataError(f"{path}: probabilities must be from 0 to 1; are these logits?")
    return probabilities


def read_soft_masks(detections: Sequence[Detection], masks: BoxMasks, score_threshold: float) -> SoftMasks:
    """Return the soft masks of detections: `soft_mask`, rows of probabilities inside `bbox`, else the mask itself.

    Args:
        detections: N.
        masks: their N masks.
        score_threshold: those of lower scores are not read.

    Raises:
        DataError: a soft mask that is not rows of numbers from 0 to 1, or that lacks a valid bbox.
    """
    parts = []
    for index, detection in enumerate(detections):
        hard = masks[[index]]
        if detection.record.get(SOFT_MASK) is None or detection.record["score"] < score_threshold:
            parts.append(SoftMasks.from_masks(hard))
            continue
        soft = _read_rows(detection)
        x, y, width, height = _read_box(detection)
        box = torch.tensor([[x, y, x + width, y + height]], dtype=torch.float32)
        parts.append(SoftMasks.from_soft(soft[None], box, masks.image_size))
    return SoftMasks.cat(parts, masks.image_size)


def _read_rows(detection: Detection) -> Tensor:
    try:
        rows = np.array(detection.record[SOFT_MASK], dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        rows = np.zeros(0, dtype=np.float32)
    if rows.ndim != 2 or not 0 < max(rows.shape) <= MAX_SIDE or not ((rows >= 0) & (rows <= 1)).all():
        raise DataError(f"{detection.where}: {SOFT_MASK} must be rows of one length of numbers from 0 to 1")
    return torch.from_numpy(rows)


def _read_box(detection: Detection) -> tuple[float, float, float, float]:
    box = detection.record.get("bbox")
    try:
        x, y, width, height = (float(value) for value in box)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        x = y = width = height = math.nan
    if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
        raise DataError(f"{detection.where}: {SOFT_MASK} needs a bbox (x, y, width, height), got {box!r}")
    return x, y, width, height
