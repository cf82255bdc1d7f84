"""Colors of segments: one color per class, and shades of it for the instances of a class.

The colors are deterministic: the same segments have the same colors in every run, picture and panel.

N = instances.
"""

import colorsys
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]

# The first shade is the color of the class. The others change the hue by less than a twelfth of the color circle, so
# that the class can be recognized, and differ from the previous shade in lightness, the most visible difference.
# Each row: change of the hue (fraction of the circle), fraction of white (or, negative, of black).
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
# Lightness, in [0, 1], below which adding black, and above which adding white, is not visible.
_DARK, _LIGHT = 0.2, 0.6


def make_shades(color: Color) -> list[Color]:
    """Return the shades of a class color (RGB, 0 to 255) for its instances; the first is the color itself."""
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
    """Assign a shade of its class color to every instance, different from those of neighbors of the same class.

    Instances are visited from left to right, so the result does not depend on their order. Each gets the shade that
    its class has used least, among those that no visited neighbor has; so the only instance of a class has the class
    color.

    Args:
        colors: N class colors.
        boxes: (N, 4), x0, y0, x1, y1 in pixels. Neighbors are instances whose boxes, enlarged by a tenth, intersect.

    Returns:
        N shades, in the order of the arguments.

    Raises:
        ValueError: colors and boxes differ in number.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(colors) != len(boxes):
        raise ValueError(f"expected one color per box, got {len(colors)} colors and {len(boxes)} boxes")
    margin = 0.1 * (boxes[:, 2:] - boxes[:, :2]) + 1
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    chosen: dict[int, int] = {}
    for i in np.lexsort(np.round(boxes, 3).T[::-1]).tolist():
        same_class = [j for j in chosen if colors[j] == colors[i]]
        uses = [0] * len(_SHADES)
        used_nearby = [False] * len(_SHADES)
        for j in same_class:
            uses[chosen[j]] += 1
            if (low[i] <= high[j]).all() and (low[j] <= high[i]).all():
                used_nearby[chosen[j]] = True
        chosen[i] = min(range(len(_SHADES)), key=lambda s: (used_nearby[s], uses[s], s))
    return [make_shades(color)[chosen[i]] for i, color in enumerate(colors)]


def make_void_pattern(height: int, width: int) -> np.ndarray:
    """Return (height, width, 3) uint8: black with thin gray diagonals, unlike any class."""
    rows, columns = np.indices((height, width), dtype=np.int32)
    stripes = (rows + columns) % 10 < 2
    return np.repeat(np.where(stripes, 70, 0).astype(np.uint8)[:, :, None], 3, axis=2)
