"""Label maps as pyramids of cells: ground truth, the cells that coarser levels resolve, and the fusion of levels.

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021), section 3.

A cell of level l is a patch of s_l x s_l pixels. Levels go from coarse to fine, as in the paper, and are counted from 0
to L - 1; each cell is covered exactly by cells of the next level. A unity-cell is one whose valid pixels all have the
same label, a mix-cell has several labels, a void cell has no valid pixel. The finest level has no unity, since no
level follows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

#: Which cells are resolved by coarser ones, see `mask_resolved_cells`.
POLICIES = ("none", "truth", "true_positives")

#: Cells outside the loss of unity.
UNITY_IGNORE = -1


@dataclass(frozen=True)
class LabelPyramid:
    """The ground truth of every cell.

    Args:
        semantic: (N, h_l, w_l) int64 of each of the L levels, classes or `ignore_value`.
        unity: (N, h_l, w_l) int8 of each but the finest, 1 for a unity-cell, 0 for a mix-cell or `UNITY_IGNORE`.
        strides: of the levels, from coarse to fine.
        ignore_value: the label of cells outside the semantic loss.
    """

    semantic: tuple[Tensor, ...]
    unity: tuple[Tensor, ...]
    strides: tuple[int, ...]
    ignore_value: int


def check_strides(strides: Sequence[int]) -> None:
    """Raise ValueError unless these are the strides of at least two levels, coarse to fine, whose cells nest."""
    if len(strides) < 2:
        raise ValueError(f"a pyramid needs at least two levels, got the strides {list(strides)}")
    if not all(isinstance(stride, int) and stride > 0 for stride in strides):
        raise ValueError(f"strides must be whole numbers above 0, got {list(strides)}")
    for level, (coarse, fine) in enumerate(pairwise(strides)):
        if fine >= coarse or coarse % fine:
            raise ValueError(
                f"strides must go from coarse to fine, each a larger multiple of the next, got {list(strides)}, "
                f"whose level {level} has {coarse} and level {level + 1} has {fine}"
            )


def build_label_pyramid(labels: Tensor, strides: Sequence[int], ignore_value: int) -> LabelPyramid:
    """Return the ground truth of both pyramids (3.1).

    A unity-cell has the label of its pixels; mix-cells and void cells have no label. At the finest level a mix-cell has
    one too: that of the valid pixel nearest to the cell's center, of several the first in reading order.

    Args:
        labels: (N, H, W) int64, any integers; padded at the right and at the bottom by `ignore_value` to H' and W', the
            next multiples of the coarsest stride.
        strides: of the levels, see `check_strides`.
        ignore_value: the label of pixels that are not valid.

    Returns:
        Levels of (N, H' / s_l, W' / s_l) cells.

    Raises:
        ValueError: strides that don't nest, or labels of another shape or type.
    """
    check_strides(strides)
    if labels.dim() != 3 or labels.dtype != torch.int64:
        raise ValueError(f"labels must be (N, H, W) int64, got {tuple(labels.shape)} {labels.dtype}")
    labels = _pad(labels, strides[0], ignore_value)
    semantic = [label_cells(labels, strides[-1], ignore_value)]
    unity: list[Tensor] = []
    # Ignored pixels neither lower the minimum nor raise the maximum: a cell is void where the minimum is the larger.
    ignored, limits = labels == ignore_value, torch.iinfo(labels.dtype)
    lowest, highest = labels.masked_fill(ignored, limits.max), labels.masked_fill(ignored, limits.min)
    below = 1
    for stride in reversed(strides):
        lowest = _pool(lowest, stride // below, torch.minimum)
        highest = _pool(highest, stride // below, torch.maximum)
        below = stride
        if stride == strides[-1]:
            continue
        shared = lowest == highest
        semantic.insert(0, lowest.masked_fill(~shared, ignore_value))
        unity.insert(0, shared.to(torch.int8).masked_fill(lowest > highest, UNITY_IGNORE))
    return LabelPyramid(tuple(semantic), tuple(unity), tuple(strides), ignore_value)


def label_cells(labels: Tensor, stride: int, ignore_value: int) -> Tensor:
    """Return the labels of one level as those of the finest one in `build_label_pyramid`, mix-cells included.

    Args:
        labels: (N, H, W) int64; padded at the right and at the bottom to multiples of the stride.
        stride: the side of a cell.
        ignore_value: the label of pixels that are not valid.

    Returns:
        (N, ceil(H / stride), ceil(W / stride)) int64.
    """
    labels = _pad(labels, stride, ignore_value)
    offsets = [(row, column) for row in range(stride) for column in range(stride)]
    # In half pixels, so that all are whole; sorting is stable, which leaves equal distances in reading order.
    offsets.sort(key=lambda offset: sum((2 * along + 1 - stride) ** 2 for along in offset))
    nearest = torch.full_like(labels[:, ::stride, ::stride], ignore_value)
    for row, column in reversed(offsets):
        pixels = labels[:, row::stride, column::stride]
        nearest = torch.where(pixels != ignore_value, pixels, nearest)
    return nearest


def _pad(labels: Tensor, divisor: int, ignore_value: int) -> Tensor:
    """(N, H, W) -> (N, H', W'), the next multiples of the divisor."""
    height, width = labels.shape[1:]
    if height % divisor or width % divisor:
        labels = F.pad(labels, (0, -width % divisor, 0, -height % divisor), value=ignore_value)
    return labels


def _pool(values: Tensor, factor: int, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return (N, h / factor, w / factor), the cells' minimum or maximum of (N, h, w).

    `amin` and `amax` over the two sides of a cell are 15 times slower on a CPU, and torch's pooling on CUDA takes no
    integers.
    """
    rows = reduce(pick, values.unflatten(1, (-1, factor)).unbind(2))
    return reduce(pick, rows.unflatten(2, (-1, factor)).unbind(3))


def mask_resolved_cells(
    pyramid: LabelPyramid, policy: str, predicted: Sequence[Tensor] = (), threshold: float = 0.9
) -> tuple[Tensor, ...]:
    """Return the cells inside resolved cells of coarser levels, which no loss counts (3.2, Table 7).

    The resolved cells are:
    - "none": no cells;
    - "truth": unity-cells;
    - "true_positives": unity-cells that are also predicted to be unity-cells; the paper's choice.

    Args:
        pyramid: the ground truth.
        policy: one of POLICIES.
        predicted: (N, h_l, w_l) probabilities of each level but the finest; read by "true_positives" only.
        threshold: tau; a cell with at least this probability is predicted to be a unity-cell.

    Returns:
        (N, h_l, w_l) bool of each of the L levels. All descendants of a resolved cell are True; the cell itself is
        not, unless it has a resolved ancestor.

    Raises:
        ValueError: an unknown policy, or predictions of other shapes than the pyramid's.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {policy!r}")
    if policy == "true_positives":
        shapes = [[tuple(level.shape) for level in levels] for levels in (pyramid.unity, predicted)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"predicted must have the shapes of the levels, {shapes[0]}, got {shapes[1]}")
    resolved = [torch.zeros_like(pyramid.unity[0], dtype=torch.bool)]
    for level, unity in enumerate(pyramid.unity):
        here = resolved[-1]
        if policy == "truth":
            here = here | (unity == 1)
        elif policy == "true_positives":
            here = here | ((unity == 1) & _is_unity(predicted[level], threshold))
        factor = pyramid.strides[level] // pyramid.strides[level + 1]
        resolved.append(here.repeat_interleave(factor, 1).repeat_interleave(factor, 2))
    return tuple(resolved)


def relabel(
    pyramid: LabelPyramid, policy: str, predicted: Sequence[Tensor] = (), threshold: float = 0.9
) -> LabelPyramid:
    """Return the ground truth in which both losses (1) ignore the cells that coarser ones resolve.

    Args and errors: see `mask_resolved_cells`.
    """
    resolved = mask_resolved_cells(pyramid, policy, predicted, threshold)
    return replace(
        pyramid,
        semantic=tuple(
            labels.masked_fill(mask, pyramid.ignore_value) for labels, mask in zip(pyramid.semantic, resolved)
        ),
        unity=tuple(unity.masked_fill(mask, UNITY_IGNORE) for unity, mask in zip(pyramid.unity, resolved)),
    )


def assign_levels(unity: Sequence[Tensor], strides: Sequence[int], threshold: float) -> Tensor:
    """Return the level of each finest cell: that of the coarsest unity-cell around it, else the finest (2).

    Args:
        unity: (N, h_l, w_l) probabilities of each level but the finest.
        strides: of the levels, see `check_strides`.
        threshold: tau; a cell with at least this probability counts as a unity-cell. 0 gives the coarsest level
            everywhere, more than 1 the finest.

    Returns:
        (N, h_L, w_L) int64, 0 for the coarsest level to L - 1 for the finest.

    Raises:
        ValueError: shapes that do not match the strides.
    """
    check_strides(strides)
    if len(unity) != len(strides) - 1:
        raise ValueError(f"unity must have one map for each level but the finest, {len(strides) - 1}, got {len(unity)}")
    number, height, width = unity[0].shape
    expected = [(number, height * strides[0] // stride, width * strides[0] // stride) for stride in strides]
    shapes = [tuple(level.shape) for level in unity]
    if shapes != expected[:-1]:
        raise ValueError(f"levels of the strides {list(strides)} have the shapes {expected[:-1]}, got {shapes}")
    # Every cell gets the finest level, then each coarser level overrides those before it: each cell has one level.
    levels = torch.full(expected[-1], len(unity), dtype=torch.int64, device=unity[0].device)
    row, column = (torch.arange(length, device=levels.device) for length in expected[-1][1:])
    for level in reversed(range(len(unity))):
        factor = strides[level] // strides[-1]
        # Not into a view of the cells: exporters to ONNX lose what is written to one.
        is_unity = _is_unity(unity[level], threshold).index_select(1, row // factor).index_select(2, column // factor)
        levels = levels.masked_fill(is_unity, level)
    return levels


def _is_unity(probability: Tensor, threshold: float) -> Tensor:
    """Compare in float32: in bfloat16 the threshold would be rounded too, 1.001 to 1."""
    return probability.float() >= threshold


def fuse_pyramid(levels: Tensor, semantic: Sequence[Tensor]) -> Tensor:
    """Return the logits of each finest cell (2): those of its cell at the level assigned to it.

    Args:
        levels: (N, h_L, w_L) int64, of `assign_levels`.
        semantic: (N, K, h_l, w_l) logits of each of the L levels, any float type.

    Returns:
        (N, K, h_L, w_L). Gradients reach the cells that were taken, and no others.

    Raises:
        ValueError: levels whose cells don't nest.
    """
    height, width = levels.shape[1:]
    row, column = torch.arange(height, device=levels.device)[:, None], torch.arange(width, device=levels.device)
    index, first = torch.full_like(levels, -1), 0
    for level, logits in enumerate(semantic):
        rows, columns = logits.shape[2:]
        factor = height // rows
        if (rows * factor, columns * factor) != (height, width):
            raise ValueError(f"cells of {rows}x{columns}, at level {level}, don't nest in the finest, {height}x{width}")
        cell = first + row // factor * columns + column // factor
        index = torch.where(levels == level, cell, index)
        first += rows * columns
    # One look-up in the cells of all levels needs neither a map per level nor levels of one size.
    cells = torch.cat([logits.flatten(2) for logits in semantic], dim=2)
    fused = cells.gather(2, index.flatten(1)[:, None].expand(-1, cells.shape[1], -1))
    return fused.unflatten(2, (height, width))
