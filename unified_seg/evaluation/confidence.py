"""How confident the semantic head is at some pixels, and whether it is right there."""

import numpy as np

from unified_seg.evaluation.base import Output
from unified_seg.ops.levels import LEVELS, to_levels
from unified_seg.structures.logit_map import LogitMap

#: Pixels of an image at most: cells of the logits, evenly spaced. Neighbors tell little that is new.
MAX_PIXELS = 8192


def count_confidences(output: Output, ground_truth: np.ndarray, ignore_label: int) -> np.ndarray | None:
    """Count the levels of confidence of wrong and of right predictions, before the fusion if there is one.

    Args:
        output: with `sem_seg`, or with `semantic_logits`, see `keep_logits`.
        ground_truth: (H, W) semantic ids.
        ignore_label: of pixels that do not count.

    Returns:
        (256, 2) int64, see `bin_levels`; None if the output has no logits in memory.
    """
    logits = output.get("semantic_logits")
    if logits is None and "sem_seg" in output:
        logits = LogitMap.from_logits(output["sem_seg"], 1, ground_truth.shape)
    sample = logits.sample(ground_truth.shape, MAX_PIXELS) if isinstance(logits, LogitMap) else None
    if sample is None:
        return None
    target = ground_truth[np.ix_(sample.rows, sample.columns)]
    valid = target != ignore_label
    probabilities, labels = sample.logits.float().softmax(0).max(0)
    levels = to_levels(probabilities).cpu().numpy()[valid].astype(np.int64)
    is_right = (labels.cpu().numpy() == target)[valid]
    return np.bincount(2 * levels + is_right, minlength=2 * LEVELS).reshape(LEVELS, 2)
