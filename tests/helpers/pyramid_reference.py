"""Pyramids of labels, cell by cell in plain Python as section 3 of Specialize and Fuse describes them, for tests.

Maps are numpy arrays of one image, (rows, columns); levels go from coarse to fine.
"""

import numpy as np

VOID, MIX, UNITY = -1, 0, 1


def build_pyramid(
    labels: np.ndarray, strides: tuple[int, ...], ignore: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return semantic and unity of each level, that of the finest included."""
    height, width = labels.shape
    semantic, unity = [], []
    for stride in strides:
        # Padded to whole coarsest cells.
        side = [-(-length // strides[0]) * strides[0] // stride for length in (height, width)]
        semantic.append(np.full(side, ignore))
        unity.append(np.full(side, VOID))
        for row, column in np.ndindex(*side):
            top, left = row * stride, column * stride
            valid = [
                (y, x)
                for y in range(top, min(top + stride, height))
                for x in range(left, min(left + stride, width))
                if labels[y, x] != ignore
            ]
            if not valid:
                continue
            one = len({int(labels[pixel]) for pixel in valid}) == 1
            unity[-1][row, column] = UNITY if one else MIX
            if one:
                semantic[-1][row, column] = labels[valid[0]]
            elif stride == strides[-1]:
                # Pixel centers lie at halves; `min` keeps the first in reading order.
                nearest = min(
                    valid, key=lambda p: (p[0] + 0.5 - top - stride / 2) ** 2 + (p[1] + 0.5 - left - stride / 2) ** 2
                )
                semantic[-1][row, column] = labels[nearest]
    return semantic, unity


def mask_resolved(counts: list[np.ndarray], strides: tuple[int, ...], sides: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return the cells inside resolved cells of coarser levels; `counts` are bool, of each level but the finest."""
    result = []
    for level, side in enumerate(sides):
        result.append(np.zeros(side, dtype=bool))
        for row, column in np.ndindex(*side):
            for above in range(level):
                factor = strides[above] // strides[level]
                result[-1][row, column] |= counts[above][row // factor, column // factor]
    return result


def assign_levels(unity: list[np.ndarray], strides: tuple[int, ...], threshold: float) -> np.ndarray:
    """Return the level of each finest cell by formula (2), which must give exactly one."""
    factor = strides[0] // strides[-1]
    result = np.zeros([length * factor for length in unity[0].shape], dtype=int)
    for row, column in np.ndindex(*result.shape):
        is_unity = [
            bool(level[row * strides[-1] // stride, column * strides[-1] // stride] >= threshold)
            for level, stride in zip(unity, strides)
        ] + [True]
        factors = [here * all(not before for before in is_unity[:level]) for level, here in enumerate(is_unity)]
        assert sum(factors) == 1
        result[row, column] = factors.index(1)
    return result


def fuse(levels: np.ndarray, semantic: list[np.ndarray]) -> np.ndarray:
    """Return (K, rows, columns), the logits of each cell's level, from maps (K, h_l, w_l)."""
    result = np.zeros((len(semantic[0]), *levels.shape), dtype=semantic[0].dtype)
    for row, column in np.ndindex(*levels.shape):
        logits = semantic[levels[row, column]]
        y, x = row * logits.shape[1] // levels.shape[0], column * logits.shape[2] // levels.shape[1]
        result[:, row, column] = logits[:, y, x]
    return result
