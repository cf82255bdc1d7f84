"""Pictures of a pyramidal output: the level of each pixel, and the unity-cells of each level (the paper's Figure 1).

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021).
(H, W) = the image, (h, w) = the canvas: the image enlarged by a whole factor, and padded if it is tiny.
"""

import colorsys
from collections.abc import Mapping

import numpy as np

from unified_seg.structures.cell_map import CellMap
from unified_seg.visualization.canvas import PaintedSegment, compute_enlargement, draw_segments, to_canvas
from unified_seg.visualization.colors import Color
from unified_seg.visualization.sheet import Picture, draw_legend, make_grid, stack_pictures

LEVEL_OPACITY = 0.55
RESOLVED_COLOR: Color = (165, 165, 165)
# The factor of the brightness of a cell's first row and column, so that adjacent cells of one value can be told apart.
EDGE = 0.6


def draw_pyramid(image: np.ndarray, maps: Mapping[str, CellMap], columns: int) -> np.ndarray:
    """Draw the assigned levels, then the unity of each level but the finest, above a legend of the levels' colors.

    Unity, the probability that a cell holds one class, is drawn as brightness, in the color of the level; cells that a
    coarser level resolves are gray.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: "levels", and "unity_<stride>" of each but the finest.
        columns: pictures in a row.

    Returns:
        A picture, RGB uint8.
    """
    unity = sorted((m for name, m in maps.items() if name.startswith("unity_")), key=lambda m: -m.stride)
    levels = maps["levels"]
    strides = [*(m.stride for m in unity), levels.stride]
    colors = pick_level_colors(len(strides))
    pictures = [Picture(draw_levels(image, levels, colors), describe_levels(image, levels, strides))]
    for level, (cells, color) in enumerate(zip(unity, colors)):
        picture = draw_unity(image, cells, levels, level, color)
        pictures.append(Picture(picture, f"stride {cells.stride}: bright if a cell is one class"))
    entries = [(f"level of stride {stride}", color) for stride, color in zip(strides, colors)]
    entries.append(("resolved by a coarser level", RESOLVED_COLOR))
    sheet = make_grid(pictures, columns)
    return stack_pictures([sheet, draw_legend(entries, sheet.shape[1])])


def pick_level_colors(number: int) -> list[Color]:
    """Return bright colors from blue, the coarsest level, to red, the finest."""
    hues = np.linspace(0.6, 0.0, number).tolist()
    return [_to_uint8(colorsys.hsv_to_rgb(hue, 0.75, 1.0)) for hue in hues]


def draw_levels(image: np.ndarray, levels: CellMap, colors: list[Color]) -> np.ndarray:
    """Draw the gray image in the colors of the assigned levels: (h, w, 3)."""
    ids = levels.read((image.shape[0], image.shape[1])).cpu().numpy().astype(np.int32) + 1
    segments = [PaintedSegment(level, color, "", is_thing=False) for level, color in enumerate(colors, start=1)]
    return draw_segments(image, ids, segments, opacity=LEVEL_OPACITY, hatch_void=False)


def draw_unity(image: np.ndarray, unity: CellMap, levels: CellMap, level: int, color: Color) -> np.ndarray:
    """Draw the cells of one level, their brightness the probability that they hold one class: (h, w, 3).

    Args:
        image: gives the size.
        unity: probabilities.
        levels: the assigned level, for the cells that a coarser one resolves.
        level: of `unity`, 0 for the coarsest.
        color: of unresolved cells of probability 1.
    """
    height, width = image.shape[:2]
    factor = compute_enlargement(height, width)
    size = (height * factor, width * factor)
    brightness = unity.read(size).float().cpu().numpy()
    rows, columns = (np.flatnonzero(np.diff(cells.cpu().numpy(), prepend=0)) for cells in unity.cell_indices(size))
    brightness[rows] *= EDGE
    brightness[:, columns] *= EDGE
    resolved = levels.read(size).cpu().numpy() < level
    hue = np.where(resolved[:, :, None], np.array(RESOLVED_COLOR, np.float32), np.array(color, np.float32))
    return to_canvas(np.rint(brightness[:, :, None] * hue).astype(np.uint8))


def describe_levels(image: np.ndarray, levels: CellMap, strides: list[int]) -> str:
    """Return a caption with the share of the image's pixels that each level labels."""
    assigned = levels.read((image.shape[0], image.shape[1])).cpu().numpy()
    counts = np.bincount(assigned.ravel(), minlength=len(strides))
    shares = (f"{stride}: {100 * count / assigned.size:.0f} %" for stride, count in zip(strides, counts))
    return f"assigned level, by stride: {', '.join(shares)}"


def _to_uint8(rgb: tuple[float, float, float]) -> Color:
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue
