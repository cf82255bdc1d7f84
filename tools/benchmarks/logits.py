"""Logits as a trained semantic head gives them: smooth, at a quarter of the image's size, sure inside regions.

K = classes, (h, w) = the logits.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

SEED = 0
STRIDE = 4
# Of the field's blur, in cells: gives the share of uniform cells of a trained model, about 84 %.
FIELD_BLUR = 8.5
# Of what a class gets where it is, before the blur, beside a field of standard deviation 1.
CERTAINTY, REGION_BLUR = 8.0, 1.5


def smooth_field(size: tuple[int, int], classes: int) -> Tensor:
    """(K, h, w) float32: blurred noise of standard deviation about 1, for an image of this size; always the same."""
    random = np.random.default_rng(SEED)
    noise = random.standard_normal((classes, *_cells(size)), dtype=np.float32)
    field = np.stack([cv2.GaussianBlur(plane, (0, 0), FIELD_BLUR) for plane in noise])
    # Of white noise behind a Gaussian blur of s cells, the standard deviation is 1 / (2 s sqrt(pi)).
    return torch.from_numpy(field * 2 * FIELD_BLUR * np.pi**0.5).contiguous()


def logits_of(labels: Tensor, classes: int) -> Tensor:
    """(K, h, w) float32: logits of a head that sees this map (H, W), with soft borders and a field's noise."""
    size = (labels.shape[0], labels.shape[1])
    height, width = _cells(size)
    centers = [torch.arange(cells) * STRIDE + STRIDE // 2 for cells in (height, width)]
    cells = labels[centers[0].clamp(max=size[0] - 1)][:, centers[1].clamp(max=size[1] - 1)].numpy()
    regions = [cv2.GaussianBlur((cells == k).astype(np.float32), (0, 0), REGION_BLUR) for k in range(classes)]
    return smooth_field(size, classes) + CERTAINTY * torch.from_numpy(np.stack(regions))


def uniform_share(logits: Tensor) -> float:
    """Of the squares between four neighboring logits: the share of those where one class wins at all corners."""
    labels = logits.argmax(0)
    corners = [labels[dy : labels.shape[0] - 1 + dy, dx : labels.shape[1] - 1 + dx] for dy in (0, 1) for dx in (0, 1)]
    uniform = (corners[0] == corners[1]) & (corners[0] == corners[2]) & (corners[0] == corners[3])
    return uniform.float().mean().item()


def assert_equal_but_for_ties(ours: Tensor, peer: Tensor, resized: Tensor, tie: float = 1e-5) -> Tensor:
    """Two label maps differ at most where the two classes have nearly the same logit.

    Args:
        ours, peer: (H, W) integer.
        resized: (K, H, W), the peer's resized logits.
        tie: the largest difference of two logits that tie.

    Returns:
        (H, W) bool: where they differ.
    """
    different = ours != peer
    rows, columns = different.nonzero(as_tuple=True)
    gaps = resized[ours[different].long(), rows, columns] - resized[peer[different].long(), rows, columns]
    wrong = int((gaps.abs() >= tie).sum())
    assert not wrong, f"{wrong} labels differ by more than a tie, by up to {gaps.abs().max().item():.3g} in the logits"
    return different


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // STRIDE), -(-size[1] // STRIDE)
