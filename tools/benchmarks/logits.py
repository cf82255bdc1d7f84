"""Synthetic logits like those of a trained head: smooth, at a quarter of the image's size, confident inside regions.

K = classes, (h, w) = the logits.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

SEED = 0
STRIDE = 4
# Standard deviation of the blur of the field, in cells; it gives a trained model's share of uniform cells, about 84 %.
FIELD_BLUR = 8.5
# Height, before its blur, of the logits of a class inside its regions; the field has standard deviation 1.
CERTAINTY, REGION_BLUR = 8.0, 1.5


def smooth_field(size: tuple[int, int], classes: int) -> Tensor:
    """Return (K, h, w) float32 blurred noise of standard deviation about 1, always the same for an image size."""
    random = np.random.default_rng(SEED)
    noise = random.standard_normal((classes, *_cells(size)), dtype=np.float32)
    field = np.stack([cv2.GaussianBlur(plane, (0, 0), FIELD_BLUR) for plane in noise])
    # White noise after a Gaussian blur of s cells has standard deviation 1 / (2 s sqrt(pi)).
    return torch.from_numpy(field * 2 * FIELD_BLUR * np.pi**0.5).contiguous()


def logits_of(labels: Tensor, classes: int) -> Tensor:
    """Return (K, h, w) float32 logits for a label map (H, W), with soft borders and the noise of a field."""
    size = (labels.shape[0], labels.shape[1])
    height, width = _cells(size)
    centers = [torch.arange(cells) * STRIDE + STRIDE // 2 for cells in (height, width)]
    cells = labels[centers[0].clamp(max=size[0] - 1)][:, centers[1].clamp(max=size[1] - 1)].numpy()
    regions = [cv2.GaussianBlur((cells == k).astype(np.float32), (0, 0), REGION_BLUR) for k in range(classes)]
    return smooth_field(size, classes) + CERTAINTY * torch.from_numpy(np.stack(regions))


def uniform_share(logits: Tensor) -> float:
    """Return the share of squares between four neighboring logits with the same class at all corners."""
    labels = logits.argmax(0)
    corners = [labels[dy : labels.shape[0] - 1 + dy, dx : labels.shape[1] - 1 + dx] for dy in (0, 1) for dx in (0, 1)]
    uniform = (corners[0] == corners[1]) & (corners[0] == corners[2]) & (corners[0] == corners[3])
    return uniform.float().mean().item()


def assert_equal_but_for_ties(method: Tensor, peer: Tensor, resized: Tensor, tie: float = 1e-5) -> Tensor:
    """Assert that two label maps differ only at pixels where the two classes have nearly the same logit.

    Args:
        method, peer: (H, W) integer.
        resized: (K, H, W), the peer's resized logits.
        tie: largest difference of two logits that count as equal.

    Returns:
        (H, W) bool, the pixels that differ.
    """
    different = method != peer
    rows, columns = different.nonzero(as_tuple=True)
    gaps = resized[method[different].long(), rows, columns] - resized[peer[different].long(), rows, columns]
    wrong = int((gaps.abs() >= tie).sum())
    assert not wrong, f"{wrong} labels differ by more than a tie, by up to {gaps.abs().max().item():.3g} in the logits"
    return different


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // STRIDE), -(-size[1] // STRIDE)
