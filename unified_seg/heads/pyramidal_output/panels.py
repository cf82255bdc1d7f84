"""A pyramidal output: which level answers where, and which cells each level takes for one class (the paper's Figure 1).

Source: Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation.
(H, W) = the image, (h, w) = the canvas: the image enlarged by a whole factor, and padded where it is tiny.
"""

import colorsys
from collections.abc import Mapping

import numpy as np

from unified_seg.structures.cell_map import CellMap
from unified_seg.visualization.canvas import PaintedSegment, compute_enlargement, draw_segments, to_canvas
from unified_seg.visualization.colors import Color
from unified_seg.visualization.sheet import Picture, draw_legend, make_grid, stack_pictures

LEVEL_OPACITY = 0.55
DONE_COLOR: Color = (165, 165, 165)
# Share of its brightness that the first row and column of a cell keep, so that cells of one value are told apart.
EDGE = 0.6


def draw_pyramid(image: np.ndarray, maps: Mapping[str, CellMap], columns: int) -> np.ndarray:
    """The map of levels, then the unity of each level but the finest, above a legend of the levels' colors.

    Unity is the probability that a cell holds one class: it is drawn as brightness, in the color of the level, and in
    gray where a coarser level has answered.

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
    colors = level_colors(len(strides))
    pictures = [Picture(draw_levels(image, levels, colors), _shares(image, levels, strides))]
    for level, (cells, color) in enumerate(zip(unity, colors)):
        picture = draw_unity(image, cells, levels, level, color)
        pictures.append(Picture(picture, f"stride {cells.stride}: bright where a cell is one class"))
    entries = [(f"level of stride {stride}", color) for stride, color in zip(strides, colors)]
    sheet = make_grid(pictures, columns)
    return stack_pictures([sheet, draw_legend([*entries, ("done by a coarser level", DONE_COLOR)], sheet.shape[1])])


def level_colors(number: int) -> list[Color]:
    """Bright colors from blue, the coarsest level, to red, the finest."""
    hues = np.linspace(0.6, 0.0, number).tolist()
    return [_rounded(colorsys.hsv_to_rgb(hue, 0.75, 1.0)) for hue in hues]


def draw_levels(image: np.ndarray, levels: CellMap, colors: list[Color]) -> np.ndarray:
    """The gray image in the colors of the levels that answer: (h, w, 3)."""
    ids = levels.read((image.shape[0], image.shape[1])).cpu().numpy().astype(np.int32) + 1
    segments = [PaintedSegment(level, color, "", is_thing=False) for level, color in enumerate(colors, start=1)]
    return draw_segments(image, ids, segments, opacity=LEVEL_OPACITY, hatch_void=False)


def draw_unity(image: np.ndarray, unity: CellMap, levels: CellMap, level: int, color: Color) -> np.ndarray:
    """The cells of one level, as bright as they are probably one class: (h, w, 3).

    Args:
        image: gives the size.
        unity: probabilities.
        levels: the level that answers, for what is done by a coarser one.
        level: of `unity`, 0 for the coarsest.
        color: of cells that are certainly one class and not done.
    """
    height, width = image.shape[:2]
    factor = compute_enlargement(height, width)
    size = (height * factor, width * factor)
    brightness = unity.read(size).float().cpu().numpy()
    rows, columns = (np.flatnonzero(np.diff(cells.cpu().numpy(), prepend=0)) for cells in unity.cell_indices(size))
    brightness[rows] *= EDGE
    brightness[:, columns] *= EDGE
    done = levels.read(size).cpu().numpy() < level
    hue = np.where(done[:, :, None], np.array(DONE_COLOR, np.float32), np.array(color, np.float32))
    return to_canvas(np.rint(brightness[:, :, None] * hue).astype(np.uint8))


def _shares(image: np.ndarray, levels: CellMap, strides: list[int]) -> str:
    """A caption: how much of the image each level answers for."""
    answering = levels.read((image.shape[0], image.shape[1])).cpu().numpy()
    counts = np.bincount(answering.ravel(), minlength=len(strides))
    parts = (f"{stride}: {100 * count / answering.size:.0f} %" for stride, count in zip(strides, counts))
    return f"level that answers, by stride: {', '.join(parts)}"


def _rounded(rgb: tuple[float, float, float]) -> Color:
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue
