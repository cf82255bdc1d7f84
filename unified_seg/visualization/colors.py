"""Colors of segments: one color a class, and for the instances of a class its shades.

Nothing here is random: the same segments get the same colors in every run, picture and panel.
T: N = instances, (H, W) = the image.
"""

import colorsys
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]

# The first shade is the class color itself. The others keep the hue within a twelfth of a turn, so that a shade is
# still seen as its class, and differ from their predecessor in lightness, which the eye tells apart best.
# Each row: turn of the hue (share of the circle), share of white (or, negative, of black).
_SHADES: tuple[tuple[float, float], ...] = (
    (0.0, 0.0),
    (0.03, 0.45),
    (-0.05, 0.22),
    (0.0, -0.36),
    (-0.03, 0.62),
    (0.05, 0.12),
    (-0.05, 0.30),
    (0.05, -0.54),
)
# Lightness (0 to 1) below which no share of black, and above which no share of white, would be seen.
_DARK, _LIGHT = 0.2, 0.6


def make_shades(color: Color) -> list[Color]:
    """The shades that instances of a class with this color (RGB, 0 to 255) take in turn, the color itself first."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in color))
    shades = []
    for turn, share in _SHADES:
        if lightness < _DARK:
            share = abs(share)
        elif lightness > _LIGHT:
            share = -abs(share)
        target = 1.0 if share > 0 else 0.0
        shade = colorsys.hls_to_rgb((hue + turn) % 1.0, lightness + abs(share) * (target - lightness), saturation)
        shades.append((round(255 * shade[0]), round(255 * shade[1]), round(255 * shade[2])))
    return shades


def assign_shades(colors: Sequence[Color], boxes: np.ndarray) -> list[Color]:
    """Give every instance a shade of its class color; neighbors of one class get different ones.

    Instances are visited from left to right, so that the outcome does not depend on their order in the output. Each
    takes the shade that its class has used least among those that no visited neighbor wears: a single car is always
    drawn in the class color itself.

    Args:
        colors: N class colors; instances of one color are told apart.
        boxes: (N, 4), x0, y0, x1, y1 in pixels. Neighbors are instances whose boxes, grown by a tenth, meet.

    Returns:
        N shades, in the order of the arguments.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(colors) != len(boxes):
        raise ValueError(f"{len(colors)} colors for {len(boxes)} boxes")
    margin = 0.1 * (boxes[:, 2:] - boxes[:, :2]) + 1
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    chosen: dict[int, int] = {}
    for i in np.lexsort(np.round(boxes, 3).T[::-1]).tolist():
        same_class = [j for j in chosen if colors[j] == colors[i]]
        uses = [0] * len(_SHADES)
        worn_nearby = [False] * len(_SHADES)
        for j in same_class:
            uses[chosen[j]] += 1
            if (low[i] <= high[j]).all() and (low[j] <= high[i]).all():
                worn_nearby[chosen[j]] = True
        chosen[i] = min(range(len(_SHADES)), key=lambda s: (worn_nearby[s], uses[s], s))
    return [make_shades(color)[chosen[i]] for i, color in enumerate(colors)]


def make_void_pattern(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: black with thin gray diagonals, which no class is painted with."""
    rows, columns = np.indices((height, width), dtype=np.int32)
    stripes = (rows + columns) % 10 < 2
    return np.repeat(np.where(stripes, 70, 0).astype(np.uint8)[:, :, None], 3, axis=2)
