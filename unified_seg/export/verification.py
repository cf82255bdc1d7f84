"""Comparison of an exported graph, and of what follows it, with the model in PyTorch.

(H, W) = an image, M = instances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unified_seg.export.errors import ExportError
from unified_seg.structures.box_masks import BoxMasks
from unified_seg_runtime import Instances, Prediction

# Two logits this close are a tie: float32 has 7 digits, and logits are sums of thousands of products.
TIE = 1e-3
# What rounding explains. Pixels of masks and segments may differ where a soft mask is as high as its threshold.
LIMITS = {"labels": 0.0, "missing": 0, "boxes": 1e-3, "scores": 1e-3, "masks": 0.02, "segments": 1e-3}


@dataclass(frozen=True)
class Differences:
    """How far a prediction is from that of the model; what the model does not predict is 0.

    Attributes:
        labels: the share of pixels with another label than the model's, where its two best classes are no tie.
        missing: instances of the one that the other does not have.
        boxes: the largest difference of boxes, pixels of the image.
        scores: the largest difference of scores.
        masks: the largest share of a mask's pixels (of the box, at least 100) that differ.
        segments: the share of pixels whose segments differ.
    """

    labels: float = 0.0
    missing: int = 0
    boxes: float = 0.0
    scores: float = 0.0
    masks: float = 0.0
    segments: float = 0.0

    def check(self, name: str) -> None:
        """Raise ExportError if they are more than rounding explains; `name` is that of the image."""
        for part, limit in LIMITS.items():
            if (found := getattr(self, part)) > limit:
                raise ExportError(
                    f"{name}: the exported graph predicts something else than the model: {part} differ by {found:.3g}, "
                    f"more than {limit:g}; nothing was written"
                )


def compare(prediction: Prediction, outputs: dict[str, Any]) -> Differences:
    """Compare the prediction of a graph with the compact outputs of the model, with `semantic_logits`."""
    # A fusion may refine labels and instances; those before it are compared, and then its segments.
    found, expected = prediction.unfused or prediction, outputs.get("unfused", outputs)
    labels = 0.0
    if found.labels is not None:
        labels = compare_labels(found.labels, expected["sem_seg_labels"], outputs["semantic_logits"])
    instances = compare_instances(found.instances, expected.get("instances"))
    segments = 0.0
    if prediction.panoptic_ids is not None and prediction.segments_info is not None:
        ids, infos = outputs["panoptic_seg"]
        segments = compare_segments(prediction.panoptic_ids, prediction.segments_info, ids.numpy(), infos)
    return Differences(labels, *instances, segments)


def compare_labels(found: np.ndarray, expected: Tensor, logits: Any) -> float:
    """Return the share of pixels with another label, without those where both classes have nearly the same logit.

    Args:
        found, expected: (H, W).
        logits: the LogitMap of the expected labels.
    """
    labels = torch.from_numpy(found)
    rows, columns = (labels != expected).nonzero(as_tuple=True)
    if not len(rows):
        return 0.0
    values = logits.logits((expected.shape[0], expected.shape[1]))[:, rows, columns]
    of_both = [values.gather(0, each[rows, columns].long()[None])[0] for each in (expected, labels)]
    scale = max(1.0, float(values.abs().max()))
    return float((of_both[0] - of_both[1] > TIE * scale).sum()) / labels.numel()


def compare_instances(found: Instances | None, expected: Any) -> tuple[int, float, float, float]:
    """Return how many instances only one of both has, and the differences of boxes, scores and masks of the others."""
    if found is None or expected is None:
        return 0, 0.0, 0.0, 0.0
    boxes, scores = expected.pred_boxes.tensor.numpy(), expected.scores.numpy()
    classes = expected.pred_classes.numpy()
    pairs = match_boxes(found.boxes, found.classes, boxes, classes)
    missing = len(boxes) + len(found.boxes) - 2 * len(pairs)
    box, score, mask = 0.0, 0.0, 0.0
    masks = expected.pred_masks if expected.has("pred_masks") else None
    for mine, other in pairs:
        box = max(box, float(np.abs(found.boxes[mine] - boxes[other]).max()))
        score = max(score, float(abs(found.scores[mine] - scores[other])))
        if masks is not None and found.masks is not None:
            mask = max(mask, _compare_masks(found, mine, masks, other))
    return missing, box, score, mask


def match_boxes(
    boxes: np.ndarray, classes: np.ndarray, others: np.ndarray, other_classes: np.ndarray
) -> list[tuple[int, int]]:
    """Return pairs of boxes (M, 4) of one class that are at most a pixel apart, each box in one pair, nearest first."""
    if not len(boxes) or not len(others):
        return []
    apart = np.abs(boxes[:, None] - others).max(axis=2)
    apart[classes[:, None] != other_classes] = np.inf
    pairs: dict[int, int] = {}
    for mine, other in np.argwhere(apart <= 1)[np.argsort(apart[apart <= 1], kind="stable")].tolist():
        if mine not in pairs and other not in pairs.values():
            pairs[mine] = other
    return list(pairs.items())


def _compare_masks(found: Instances, mine: int, masks: BoxMasks, other: int) -> float:
    assert found.masks is not None
    x0, y0, x1, y1 = found.masks.windows[mine].tolist()
    canvas = np.zeros(masks.image_size, dtype=bool)
    canvas[y0:y1, x0:x1] = found.masks.planes[mine]
    differing = np.count_nonzero(canvas != next(iter(masks[[other]])).numpy())
    return differing / max((x1 - x0) * (y1 - y0), 100)


def compare_segments(
    ids: np.ndarray, infos: Sequence[dict[str, Any]], other_ids: np.ndarray, other_infos: Sequence[dict[str, Any]]
) -> float:
    """Return the share of pixels that are in segments of other classes, or in others of one class."""
    names, other_names = _name_segments(infos), _name_segments(other_infos)
    # Segments of equal scores may be numbered differently: a segment is matched with the one that covers most of it.
    pairs, counts = np.unique(np.stack([ids.ravel(), other_ids.ravel()]), axis=1, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for (mine, other), count in zip(pairs.T.tolist(), counts.tolist()):
        if names.get(mine) == other_names.get(other) and count > best.get(mine, (0, 0))[1]:
            best[mine] = (other, count)
    return 1 - sum(count for _, count in best.values()) / ids.size


def _name_segments(infos: Sequence[dict[str, Any]]) -> dict[int, tuple[bool, int]]:
    return {info["id"]: (info["isthing"], info["category_id"]) for info in infos}
