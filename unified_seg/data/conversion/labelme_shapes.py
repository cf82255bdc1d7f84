"""The shapes of labelme's drawings (https://github.com/wkentaro/labelme) as polygons and masks.

Shapes lie over each other in the order of the file, as in labelme's own conversions: a shape with the label
`_background_` is a hole in the shapes before it. H, W = an image.
"""

import base64
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from PIL import Image
from pycocotools import mask as mask_util

from unified_seg.data.coco.masks import MAX_DISTANCE, Rle, convert_to_rle, decode_rle
from unified_seg.data.coco.rle import encode_window
from unified_seg.data.io.typed_records import Notes, convert_record, iterate_records
from unified_seg.data.problems import DataError, RecordError
from unified_seg.hints import format_hint

# Labels that are not classes: a hole, and a region in which nothing is labeled.
BACKGROUND, IGNORED = "_background_", "__ignore__"
# The shapes that labelme draws, with the numbers of points where they are fixed; X-AnyLabeling writes rectangles with
# four points, and turned ones as "rotation".
NUM_POINTS = {"rectangle": (2, 4), "circle": (2,), "mask": (2,), "oriented_rectangle": (4,), "rotation": (4,)}
# The largest distance from a circle to the polygon that replaces it, in pixels.
CIRCLE_ERROR = 0.25

Point = tuple[float, float]


class Shape(Struct, frozen=True):
    """A drawn shape; old files have polygons without a type. `mask` is a PNG in base64, of the window of the points."""

    label: str
    points: list[Point]
    shape_type: str | None = None
    group_id: int | None = None
    mask: str | None = None

    @property
    def kind(self) -> str:
        return self.shape_type or "polygon"

    @property
    def has_area(self) -> bool:
        """Whether the shape encloses pixels; labelme's lines, line strips and points do not."""
        return self.kind in NUM_POINTS or (self.kind == "polygon" and len(self.points) >= 3)


class DrawnInstance(NamedTuple):
    """The shapes of one instance.

    Attributes:
        label: the name of its class.
        segmentation: polygons [x, y, x, y, ...] in pixels or, of masks and of shapes with holes, COCO's run lengths.
        area: its pixels in the image.
        box: x, y, width, height of these pixels.
        where: file and record, for errors.
    """

    label: str
    segmentation: list[list[float]] | Rle
    area: int
    box: list[float]
    where: str


class Drawing(NamedTuple):
    """The shapes of an image.

    Attributes:
        instances: in the order of the file, also those without a pixel in the image.
        ignored: the region of shapes `__ignore__`, if there are any.
        skipped: how many shapes without an area were left out, by type.
    """

    instances: list[DrawnInstance]
    ignored: DrawnInstance | None
    skipped: Counter[str]


@dataclass
class _Joined:
    """The shapes of one instance so far; `rle` is set when polygons can't describe them any more."""

    label: str
    where: str
    polygons: list[list[float]] = field(default_factory=list)
    rle: Rle | None = None

    def add(self, shape: Shape, size: tuple[int, int]) -> None:
        if shape.kind != "mask" and self.rle is None:
            self.polygons.append(convert_to_polygon(shape, size))
        else:
            parts = [self.read(size)] if self.polygons or self.rle else []
            self.rle = decode_rle(mask_util.merge([*parts, _draw(shape, size, self.where)]))

    def cut(self, hole: Rle, size: tuple[int, int]) -> None:
        """Take the pixels of a hole away."""
        rle = self.read(size)
        if mask_util.area(mask_util.merge([rle, hole], intersect=True)):
            kept = mask_util.decode(rle) & ~mask_util.decode(hole)
            self.rle = decode_rle(mask_util.encode(np.asfortranarray(kept)))

    def read(self, size: tuple[int, int]) -> Rle:
        return convert_to_rle(self.polygons, size, self.where) if self.rle is None else self.rle

    def finish(self, size: tuple[int, int]) -> DrawnInstance:
        rle = self.read(size)
        box, area = mask_util.toBbox(rle).tolist(), int(mask_util.area(rle))
        return DrawnInstance(self.label, self.polygons if self.rle is None else rle, area, box, self.where)


def read_shapes(
    path: Path, shapes: Any, size: tuple[int, int], *, skip_shapes: bool = False, notes: Notes | None = None
) -> Drawing:
    """Return the instances of a labelme file: shapes of one label and group_id are one instance.

    Args:
        path: the file, for errors.
        shapes: its list of shapes.
        size: (H, W).
        skip_shapes: leave out and count shapes without an area; False: they are an error.
        notes: get the values of an unusual type; None: they are an error.

    Raises:
        DataError: the first wrong shape.
    """
    joined: dict[tuple[Any, ...], _Joined] = {}
    skipped: Counter[str] = Counter()
    for index, (where, record) in enumerate(iterate_records(path, shapes, "shapes")):
        try:
            shape = convert_record(record, Shape, notes, where)
            if skip_shapes and not shape.has_area:
                skipped[shape.kind] += 1
                continue
            _check_points(shape, size)
            place = f"{path}: {where}"
            if shape.label == BACKGROUND:
                hole = _draw(shape, size, place)
                for instance in joined.values():
                    instance.cut(hole, size)
                continue
            joined.setdefault(_make_key(shape, index), _Joined(shape.label, place)).add(shape, size)
        except RecordError as error:
            raise DataError(f"{path}: {where}: {error}") from None
    ignored = joined.pop((IGNORED,), None)
    instances = [instance.finish(size) for instance in joined.values()]
    return Drawing(instances, None if ignored is None else ignored.finish(size), skipped)


def _make_key(shape: Shape, index: int) -> tuple[Any, ...]:
    if shape.label == IGNORED:
        return (IGNORED,)
    return (shape.label, "shape", index) if shape.group_id is None else (shape.label, "group", shape.group_id)


def _check_points(shape: Shape, size: tuple[int, int]) -> None:
    """Raise RecordError for a shape of another type, with another number of points, or far outside the image."""
    farthest = MAX_DISTANCE * max(size)
    for point in shape.points:
        if not all(-farthest <= value <= farthest for value in point):  # NaN is not
            raise RecordError(f"the point {list(point)!r:.80} is far outside the image")
    expected = NUM_POINTS.get(shape.kind)
    if expected is not None and len(shape.points) not in expected:
        numbers = " or ".join(map(str, expected))
        raise RecordError(f"a {shape.kind} must have {numbers} points, got {len(shape.points)}")
    if not shape.has_area:
        hint = f"{format_hint('--skip-shapes')} leaves such shapes out"
        if shape.kind == "polygon":
            raise RecordError(f"a polygon must have at least 3 points, got {len(shape.points)}; {hint}")
        known = ", ".join(["polygon", *NUM_POINTS])
        raise RecordError(f"shape_type must be one with an area ({known}), got {shape.kind!r:.80}; {hint}")


def _draw(shape: Shape, size: tuple[int, int], where: str) -> Rle:
    """Return the pixels of a shape."""
    if shape.kind == "mask":
        return _read_mask(shape, size)
    return convert_to_rle([convert_to_polygon(shape, size)], size, where)


def convert_to_polygon(shape: Shape, size: tuple[int, int]) -> list[float]:
    """Return a shape that is no mask as a polygon [x, y, x, y, ...], in pixels.

    Args:
        shape: its points are the corners of a polygon or rectangle, two opposite ones of a rectangle, or the center of
            a circle and a point on it.
        size: (H, W).

    Raises:
        RecordError: another type, another number of points, or points far outside the image.
    """
    _check_points(shape, size)
    points: Iterable[Point] = shape.points
    if shape.kind == "rectangle" and len(shape.points) == 2:
        (left, top), (right, bottom) = shape.points
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif shape.kind == "circle":
        points = _approximate_circle(*shape.points)
    return [value for point in points for value in point]


def _approximate_circle(center: Point, edge: Point) -> list[Point]:
    """Return corners on the circle, so many that the polygon's sides are within CIRCLE_ERROR of it."""
    radius = math.dist(center, edge)
    # The middle of a side is radius * cos(pi / corners) from the center.
    corners = max(12, math.ceil(math.pi / math.acos(1 - CIRCLE_ERROR / max(radius, CIRCLE_ERROR))))
    angles = (2 * math.pi * corner / corners for corner in range(corners))
    return [(center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)) for angle in angles]


def _read_mask(shape: Shape, size: tuple[int, int]) -> Rle:
    """Return the pixels of a mask, which is placed at its first point and clipped at the image.

    As labelme does, a mask that is larger than its window of whole pixels is cropped to it.
    """
    patch = _decode_mask(shape.mask, size)
    (left, top), (right, bottom) = ((round(x), round(y)) for x, y in shape.points)
    if all(value.is_integer() for point in shape.points for value in point):
        height, width = bottom - top + 1, right - left + 1
        if patch.shape[0] < height or patch.shape[1] < width or min(height, width) < 1:
            found = f"{patch.shape[0]}x{patch.shape[1]}"
            raise RecordError(f"the mask has {found} pixels, its points span {height}x{width} (height x width)")
        patch = patch[:height, :width]
    rows = slice(max(-top, 0), max(min(patch.shape[0], size[0] - top), 0))
    columns = slice(max(-left, 0), max(min(patch.shape[1], size[1] - left), 0))
    return encode_window(patch[rows, columns], max(top, 0), max(left, 0), size)


def _decode_mask(text: str | None, size: Sequence[int]) -> np.ndarray:
    """Return (h, w) bool of a PNG in base64."""
    if text is None:
        raise RecordError("a mask must have a PNG in base64 as mask, got None")
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=("PNG",)) as image:
            if image.width * image.height > 4 * size[0] * size[1]:
                raise RecordError(f"the mask has {image.height}x{image.width} pixels, far more than its image")
            pixels = np.array(image)
    except RecordError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RecordError(f"mask is no readable PNG in base64: {error}") from None
    if pixels.ndim != 2:
        raise RecordError(f"the mask must have one channel, got {pixels.shape[2]}")
    return pixels.astype(bool)
