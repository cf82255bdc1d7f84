"""Predictions as labelme files (https://github.com/wkentaro/labelme), to correct by hand.

labelme has no holes: shapes lie over each other in the order of the file, and a polygon with the label `_background_`
is a hole in the shapes before it. So regions are written from large to small, each before its holes and before what
lies in them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from unified_seg.data.io.text_files import write_json
from unified_seg.errors import UserError
from unified_seg.evaluation.model_outputs import read_instances, read_labels, read_panoptic
from unified_seg.inference.files.writers import Json, PredictedImage, Writer, list_segments
from unified_seg.structures.class_table import ClassTable

# The version whose files have these keys.
VERSION = "5.5.0"
BACKGROUND = "_background_"
# A polygon may leave out corners that are less than this from its other sides, in pixels: people move corners by hand.
TOLERANCE = 1.0
# Smaller regions and holes, in pixels, would be work for whoever corrects the file.
MIN_AREA = 16


class Region(NamedTuple):
    """A connected part of a mask.

    Attributes:
        outline, holes: polygons (P, 2), x and y of the corners, on the edges of pixels.
        filled_area: pixels, those of its holes included.
    """

    outline: np.ndarray
    holes: list[np.ndarray]
    filled_area: float


class LabelmeWriter(Writer):
    """labelme/<name>.json: polygons of things and stuff, of the panoptic map or, without one, of what the model has.

    The images stay where they are, so that labelme opens them from there.

    Args:
        folder, table: see `Writer`.
        tolerance, min_area: see `make_shapes`.
    """

    def __init__(self, folder: Path, table: ClassTable, tolerance: float = TOLERANCE, min_area: float = MIN_AREA):
        super().__init__(folder, table)
        self.tolerance = tolerance
        self.min_area = min_area

    def write(self, predicted: PredictedImage) -> Json:
        source = predicted.item.source
        if isinstance(source, np.ndarray):
            raise UserError("--save labelme needs image files: labelme opens no frames of a video")
        path = self.find_path("labelme", predicted.item, ".json")
        file = os.path.relpath(source["file_name"], path.parent)
        height, width = predicted.image.shape[:2]
        shapes = make_shapes(list(self._list_masks(predicted)), self.tolerance, self.min_area)
        content = {"version": VERSION, "flags": {}, "shapes": shapes, "imagePath": Path(file).as_posix()}
        write_json(path, {**content, "imageData": None, "imageHeight": height, "imageWidth": width}, durable=False)
        return {}

    def _list_masks(self, predicted: PredictedImage) -> Iterator[tuple[str, np.ndarray, int, int]]:
        """Yield the class, and the mask with the top and left of its window, of each segment."""
        outputs, record = predicted.outputs, predicted.record
        if "panoptic_seg" in outputs:
            ids, _ = read_panoptic(record, outputs)
            for segment in list_segments(predicted, self.table):
                yield (segment.cls.name, *_crop(ids == segment.id))
            return
        has_masks = "instances" in outputs and outputs["instances"].has("pred_masks")
        if "sem_seg_labels" in outputs:
            labels = read_labels(record, outputs)
            for index, name in enumerate(self.table.semantic_names):
                if (labels == index).any() and not (has_masks and self.table.is_thing[index]):
                    yield (name, *_crop(labels == index))
        if has_masks:
            instances = read_instances(record, outputs, with_masks=True)
            for (window, mask), thing_id in zip(instances.pred_masks.crops(), instances.pred_classes.tolist()):
                yield self.table.things[thing_id].name, mask.numpy(), window[0].start, window[1].start


def make_shapes(
    masks: list[tuple[str, np.ndarray, int, int]], tolerance: float = TOLERANCE, min_area: float = MIN_AREA
) -> list[dict[str, Any]]:
    """Return the shapes of masks, in an order in which holes cut nothing but the regions around them.

    Args:
        masks: label, (h, w) bool, and the row and column of its first pixel in the image; they don't overlap.
        tolerance: see `find_regions`.
        min_area: regions and holes of fewer pixels are left out.

    Returns:
        Shapes of labelme; the regions of a mask have one group_id.
    """
    regions = [
        (region, label, group)
        for group, (label, mask, top, left) in enumerate(masks, start=1)
        for region in find_regions(mask, top, left, tolerance, min_area)
    ]
    regions.sort(key=lambda item: -item[0].filled_area)
    shapes = []
    for region, label, group in regions:
        shapes.append(_make_shape(label, region.outline, group))
        shapes += [_make_shape(BACKGROUND, hole, None) for hole in region.holes]
    return shapes


def find_regions(
    mask: np.ndarray, top: int = 0, left: int = 0, tolerance: float = 0.0, min_area: float = 0.0
) -> list[Region]:
    """Return the connected parts of a mask (h, w) bool, as polygons along the edges of its pixels.

    Args:
        mask: pixels that touch at a corner are connected.
        top, left: row and column of its first pixel in the image.
        tolerance: the largest distance from the edges to a polygon, in pixels; with 0 the polygons are exact.
        min_area: parts and holes of fewer pixels are left out.
    """
    offset = np.array((left, top))
    # Twice as large, so that the borders of neighbors differ: pixels 2k - 1 and 2k lie on both sides of the edge k.
    doubled = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corners = [(contour[:, 0] + 1) // 2 for contour in contours]
    areas = [cv2.contourArea(polygon) for polygon in corners]
    links = hierarchy[0] if len(contours) else []
    holes: dict[int, list[np.ndarray]] = {}
    kept = [index for index, area in enumerate(areas) if area >= max(min_area, 1)]
    for index in kept:
        if (parent := int(links[index][3])) >= 0:
            holes.setdefault(parent, []).append(_simplify(corners[index], tolerance) + offset)
    return [
        Region(_simplify(corners[index], tolerance) + offset, holes.get(index, []), areas[index])
        for index in kept
        if links[index][3] < 0
    ]


def _simplify(polygon: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the corners of a closed polygon without those that it does not need."""
    steps = np.roll(polygon, -1, axis=0) - polygon
    moved = polygon[steps.any(axis=1)]
    before, after = moved - np.roll(moved, 1, axis=0), np.roll(moved, -1, axis=0) - moved
    exact = moved[(before != after).any(axis=1)]
    if tolerance <= 0:
        return exact
    simple = cv2.approxPolyDP(exact.astype(np.int32)[:, None], tolerance, closed=True)[:, 0]
    return simple if len(simple) >= 3 else exact


def _crop(mask: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return the part of a mask with pixels, and the row and column of its first one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return mask[top : rows[-1] + 1, left : columns[-1] + 1], top, left


def _make_shape(label: str, polygon: np.ndarray, group: int | None) -> dict[str, Any]:
    points = polygon.astype(float).tolist()
    keys: Json = {"group_id": group, "description": "", "shape_type": "polygon", "flags": {}, "mask": None}
    return {"label": label, "points": points, **keys}
