"""Pictures of the predicted and the true errors of a semantic map.

Source: Gong et al., Erroneous pixel prediction for semantic image segmentation (2022), Figure 3.
(H, W) = the image, (h, w) = the canvas: the image enlarged by a whole factor, and padded if it is tiny.
"""

from collections.abc import Mapping

import numpy as np

from unified_seg.structures.logit_map import LogitMap
from unified_seg.visualization.canvas import compute_enlargement, to_canvas
from unified_seg.visualization.sheet import Picture

ERROR_COLOR = (255, 0, 0)
UNLABELED_COLOR = (255, 255, 255)


def draw_errors(
    size: tuple[int, int], maps: Mapping[str, LogitMap], ignore_label: int, ground_truth: np.ndarray | None = None
) -> list[Picture]:
    """Draw the map of error probabilities and, if the ground truth is known, that of the true errors.

    Args:
        size: (H, W).
        maps: "error", one logit, and "uncorrected", the logits from before the correction.
        ignore_label: of the ground truth.
        ground_truth: (H, W) semantic ids or `ignore_label`.

    Returns:
        One or two pictures.

    Raises:
        ValueError: a ground truth of another size.
    """
    probability = maps["error"].probability(size).cpu().numpy()
    caption = f"error probability, black 0 to red 1: {100 * probability.mean():.1f} % on average"
    pictures = [Picture(draw_probability(probability), caption)]
    if ground_truth is not None:
        if ground_truth.shape != size:
            raise ValueError(f"ground_truth must have the image's size {size}, got {ground_truth.shape}")
        labeled = ground_truth != ignore_label
        wrong = labeled & (maps["uncorrected"].labels(size).cpu().numpy() != ground_truth)
        share = f"{100 * wrong.sum() / labeled.sum():.1f} %" if labeled.any() else "unknown"
        caption = f"true errors before correction: {share}; white: unlabeled"
        pictures.append(Picture(draw_true_errors(wrong, labeled), caption))
    return pictures


def draw_probability(probability: np.ndarray) -> np.ndarray:
    """(H, W) probabilities -> (h, w, 3) uint8: black for 0, red for 1."""
    colors = probability[:, :, None] * np.array(ERROR_COLOR, np.float32)
    return _enlarge(np.rint(colors).astype(np.uint8))


def draw_true_errors(wrong: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """(H, W) bool each -> (h, w, 3) uint8: red for wrong labels, white without ground truth, else black."""
    colors = np.zeros((*wrong.shape, 3), np.uint8)
    colors[wrong] = ERROR_COLOR
    colors[~labeled] = UNLABELED_COLOR
    return _enlarge(colors)


def _enlarge(colors: np.ndarray) -> np.ndarray:
    factor = compute_enlargement(colors.shape[0], colors.shape[1])
    return to_canvas(colors.repeat(factor, axis=0).repeat(factor, axis=1))
