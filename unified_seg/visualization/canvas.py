"""Drawing of segments over an image.

(H, W) = the image, (h, w) = the canvas: the image enlarged by an integer factor, and padded if it is tiny.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from unified_seg.data.problems import WriteError
from unified_seg.visualization.colors import Color, make_void_pattern
from unified_seg.visualization.text_labels import SegmentVisualizer, TextLabel
from unified_seg_files import write_bytes

VOID = 0  # the id of pixels without a segment
OUTSIDE = -1  # the id of the padding around a tiny image

PANEL_WIDTH = 480  # pixels: narrower images are enlarged, so that labels can be read
MAX_ENLARGED_SIDE = 2048
MIN_SIDE = 64
BACKGROUND: Color = (32, 34, 38)
FOREGROUND: Color = (235, 235, 230)


@dataclass(frozen=True)
class PaintedSegment:
    """A segment to paint.

    Attributes:
        id: its value in the map of ids, above 0.
        color: RGB, 0 to 255.
        label: the text to write on it.
        is_thing: whether it gets an outline, and a label beside it if it is small.
        box: x0, y0, x1, y1 in pixels of the image, drawn if given.
    """

    id: int
    color: Color
    label: str
    is_thing: bool
    box: tuple[float, float, float, float] | None = None


def compute_enlargement(height: int, width: int) -> int:
    """Return the integer factor by which an image is enlarged before drawing; 1 from PANEL_WIDTH on."""
    wanted = -(-PANEL_WIDTH // width)
    return max(1, min(wanted, MAX_ENLARGED_SIDE // max(height, width)))


def to_canvas(image: np.ndarray) -> np.ndarray:
    """Enlarge and pad an image (H, W, 3) uint8 as for panels: (h, w, 3) uint8."""
    factor = compute_enlargement(*image.shape[:2])
    if factor > 1:
        size = (image.shape[1] * factor, image.shape[0] * factor)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return _pad(image, BACKGROUND)


def draw_segments(
    image: np.ndarray,
    ids: np.ndarray,
    segments: Sequence[PaintedSegment],
    *,
    opacity: float,
    hatch_void: bool,
) -> np.ndarray:
    """Paint segments over the gray image, with outlines of things and labels for which there is room.

    Regions are painted by pixels, not as the polygons of Detectron2's Visualizer, which run through pixel centers: they
    fill holes and drop regions that are one pixel wide, such as poles.

    Args:
        image: (H, W, 3) uint8, RGB.
        ids: (H, W) integers, 0 = no segment.
        segments: the segments of the ids; ids without one count as 0.
        opacity: of the segments, in [0, 1].
        hatch_void: whether pixels without a segment are hatched; else they show the darkened image.

    Returns:
        (h, w, 3) uint8, RGB.

    Raises:
        ValueError: `ids` has another size than the image.
    """
    if ids.shape != image.shape[:2]:
        raise ValueError(f"ids: expected the size of the image {image.shape[:2]} (H, W), got {ids.shape}")
    factor = compute_enlargement(*ids.shape)
    ids = _pad(np.kron(ids, np.ones((factor, factor), dtype=ids.dtype)) if factor > 1 else ids, OUTSIDE)
    canvas = _blend(to_canvas(image), ids, segments, opacity, hatch_void)
    visualizer = SegmentVisualizer(canvas)
    offset = np.array([(n - factor * m) // 2 for n, m in zip(ids.shape[::-1], image.shape[1::-1])])
    labels = []
    for segment in segments:
        box = None
        if segment.box is not None:
            box = (np.reshape(segment.box, (2, 2)) * factor + offset).ravel()
            visualizer.draw_box(box, color=tuple(0.7 * c / 255 + 0.3 for c in segment.color))
        labels.append(TextLabel(segment.id, segment.label, segment.color, segment.is_thing, box))
    visualizer.write_labels(labels, ids)
    return visualizer.get_image()


def _pad(array: np.ndarray, value: int | Color) -> np.ndarray:
    """Pad an array to MIN_SIDE on both sides, below which labels could not be read."""
    missing = [max(0, MIN_SIDE - side) for side in array.shape[:2]]
    if not any(missing):
        return array
    padded = np.empty((array.shape[0] + missing[0], array.shape[1] + missing[1], *array.shape[2:]), dtype=array.dtype)
    padded[:] = value
    top, left = missing[0] // 2, missing[1] // 2
    padded[top : top + array.shape[0], left : left + array.shape[1]] = array
    return padded


def _blend(
    image: np.ndarray, ids: np.ndarray, segments: Sequence[PaintedSegment], opacity: float, hatch_void: bool
) -> np.ndarray:
    # Gray, so that the colors of the image do not change the hues of segments.
    gray = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    row_of = {segment.id: row for row, segment in enumerate(segments, start=1)}
    present, positions = np.unique(ids, return_inverse=True)
    rows = np.array([row_of.get(i, 0) for i in present.tolist()])[positions.reshape(ids.shape)]
    colors = np.array([(0, 0, 0), *(segment.color for segment in segments)], dtype=np.float32)
    result = opacity * colors[rows] + (1 - opacity) * gray
    free = (rows == 0) & (ids != OUTSIDE)
    result[free] = make_void_pattern(*ids.shape)[free] if hatch_void else 0.5 * gray[free] + 45
    is_thing = np.array([False, *(segment.is_thing for segment in segments)])
    outline = _find_outline(ids) & is_thing[rows]
    result[outline] = 0.35 * result[outline] + 0.65 * 255
    result[ids == OUTSIDE] = BACKGROUND
    return np.rint(result).astype(np.uint8)


def _find_outline(ids: np.ndarray) -> np.ndarray:
    """Return the pixels that touch another segment: (h, w) bool."""
    edge = np.zeros(ids.shape, dtype=bool)
    across = ids[:, 1:] != ids[:, :-1]
    down = ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def write_picture(file: Path, picture: np.ndarray) -> None:
    """Write a picture in the format of the file's suffix, whole or not at all.

    Args:
        file: its folder is created if need be.
        picture: (H, W, 3) uint8, RGB.

    Raises:
        WriteError: it can't be written, with the cause.
    """
    try:
        is_encoded, data = cv2.imencode(file.suffix, picture[:, :, ::-1])
        if not is_encoded:
            raise ValueError(f"OpenCV can't write {picture.shape[0]}x{picture.shape[1]} pixels as {file.suffix}")
        write_bytes(file, data.tobytes())
    except (OSError, ValueError, cv2.error) as error:
        raise WriteError.from_error(error, file) from None
