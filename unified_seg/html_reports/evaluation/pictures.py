"""Pictures of an image beside its ground truth, the predictions of models, and their errors.

(H, W) = the image, (h, w) = the picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from unified_seg.data.io.image_files import read_picture
from unified_seg.evaluation.model_outputs import get_label_map, read_instances
from unified_seg.html_reports.evaluation.named_errors import (
    KIND_COLORS,
    NamedError,
    count_kinds,
    name_instance_errors,
    name_panoptic_errors,
    name_semantic_errors,
)
from unified_seg.html_reports.page import Picture, encode_jpeg
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.canvas import PaintedSegment, draw_segments, to_canvas
from unified_seg.visualization.colors import Color
from unified_seg.visualization.ground_truth_outputs import read_ground_truth
from unified_seg.visualization.panels import Panel, make_panels

#: Larger images are shrunk to this width in pixels before they are drawn.
DRAWN_WIDTH = 640
#: Errors of an image that are named and numbered.
MAX_NAMED = 10
#: Detections with a lower score are neither drawn nor errors.
CONFIDENCE_THRESHOLD = 0.5
_QUALITY = 80
BETTER, WORSE = (0, 114, 178), (213, 94, 0)  # blue and vermilion of Okabe and Ito (2008)
_OPACITY = 0.85

Record = dict[str, Any]
Output = Mapping[str, Any]
Box = tuple[float, float, float, float]


class Errors(NamedTuple):
    """The errors of a model in an image.

    Attributes:
        model: its name.
        summary: how many of each kind; "" for a semantic map.
        texts: the largest ones, by their numbers in the picture from 1.
        num_more: errors that are not named.
    """

    model: str
    summary: str
    texts: list[str]
    num_more: int


class Case(NamedTuple):
    """An image of the page, with its pictures, the colors of its classes, and what is wrong in it."""

    pictures: list[Picture]
    legend: dict[str, Color]
    errors: list[Errors]


def draw_case(record: Record, outputs: Sequence[Output], names: Sequence[str], table: ClassTable) -> Case:
    """Draw an image, its ground truth, and the predictions and errors of models.

    Panoptic maps are drawn if all models and the ground truth have some, else semantic maps, else instances.

    Args:
        record: of the data set.
        outputs: of each model for this image, in either form of MODEL.UNIFIED.OUTPUT.
        names: of the models.
        table: the classes.

    Raises:
        DataError, ValueError: the ground truth or a prediction can't be used.
    """
    image = read_picture(str(record["file_name"]))
    ground_truth = read_ground_truth(record, table)
    scale = min(1.0, DRAWN_WIDTH / image.shape[1])
    small = _shrink(image, scale, cv2.INTER_AREA)
    gt_panels = make_panels(ground_truth, table)
    predicted = [make_panels(output, table, CONFIDENCE_THRESHOLD) for output in outputs]
    kind = next(k for k in ("panoptic", "semantic", "instances") if all(k in each for each in (gt_panels, *predicted)))
    shown = [_shrink_panel(each[kind], scale) for each in (gt_panels, *predicted)]
    captions = ["ground truth", *(f"{name}: prediction" if len(names) > 1 else "prediction" for name in names)]
    drawn = [panel.draw(small).pixels for panel in shown]
    pictures = [_encode(to_canvas(small), "image"), _encode(drawn[0], captions[0])]
    errors = []
    for name, output, pixels, caption in zip(names, outputs, drawn[1:], captions[1:]):
        pictures.append(_encode(pixels, caption))
        found = _name_errors(kind, record, ground_truth, output, table)
        title = f"{name}: errors" if len(names) > 1 else "errors, numbered as above"
        pictures.append(_encode(_draw_errors(small, found[:MAX_NAMED], found[MAX_NAMED:]), title))
        texts = [error.text for error in found[:MAX_NAMED]]
        errors.append(Errors(name, count_kinds(found), texts, len(found) - len(texts)))
        if "unfused" in output and "sem_seg_labels" in ground_truth:
            pictures.append(_draw_fusion(small, ground_truth, output, table, name if len(names) > 1 else ""))
    present = {name: color for panel in shown for name, color in panel.colors.items()}
    in_order = [c.name for c in table.classes if c.name in present]
    return Case(pictures, {name: present[name] for name in dict.fromkeys([*in_order, *present])}, errors)


def _name_errors(
    kind: str, record: Record, ground_truth: Output, output: Output, table: ClassTable
) -> list[NamedError]:
    if kind == "panoptic":
        return name_panoptic_errors(record, output, table)
    if kind == "semantic":
        labels = get_label_map(output)
        assert labels is not None
        return name_semantic_errors(ground_truth["sem_seg_labels"].numpy(), labels.cpu().numpy(), table)
    with_masks = output["instances"].has("pred_masks")
    instances = read_instances(record, output, with_masks)
    return name_instance_errors(ground_truth["instances"], instances[instances.scores >= CONFIDENCE_THRESHOLD], table)


def _draw_errors(image: np.ndarray, errors: Sequence[NamedError], more: Sequence[NamedError]) -> np.ndarray:
    """Mark the pixels of errors, with their numbers from 1; `more` has none."""
    ids = np.zeros(image.shape[:2], dtype=np.int32)
    segments = []
    colors = [*KIND_COLORS.values()]
    numbered = [(error, str(number)) for number, error in enumerate(errors, start=1)]
    for index, (error, label) in enumerate([*numbered, *((error, "") for error in more)], start=1):
        mask = _shrink(error.draw().astype(np.uint8), image.shape[:2], cv2.INTER_NEAREST)
        # Later, smaller errors lie in front. The number stands at the largest connected part.
        ids[mask.astype(bool)] = 2 * index + 1
        ids[_find_largest_part(mask)] = 2 * index
        color = KIND_COLORS.get(error.kind, colors[(index - 1) % len(colors)])
        segments.append(PaintedSegment(2 * index, color, label, is_thing=True))
        segments.append(PaintedSegment(2 * index + 1, color, "", is_thing=True))
    return draw_segments(image, ids, segments, opacity=_OPACITY, hatch_void=False)


def _find_largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask (H, W) uint8, as bool."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return np.zeros(mask.shape, dtype=bool)
    return parts == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())


def _draw_fusion(image: np.ndarray, ground_truth: Output, output: Output, table: ClassTable, name: str) -> Picture:
    """Draw which pixels of the semantic map the fusion changed for better and for worse."""
    target = ground_truth["sem_seg_labels"].numpy()
    before, after = (get_label_map(each) for each in (output["unfused"], output))
    assert before is not None and after is not None
    was_right, is_right = (labels.cpu().numpy() == target for labels in (before, after))
    labeled = target != table.ignore_label
    better, worse = labeled & ~was_right & is_right, labeled & was_right & ~is_right
    ids = (better + 2 * worse.astype(np.int32)).astype(np.uint8)
    ids = _shrink(ids, image.shape[:2], cv2.INTER_NEAREST).astype(np.int32)
    segments = [PaintedSegment(1, BETTER, "", is_thing=True), PaintedSegment(2, WORSE, "", is_thing=True)]
    pixels = draw_segments(image, ids, segments, opacity=1.0, hatch_void=False)
    caption = f"changed by the fusion: {int(better.sum()):,} pixels better (blue), {int(worse.sum()):,} worse (orange)"
    return _encode(pixels, f"{name}, {caption}" if name else caption)


def _encode(pixels: np.ndarray, caption: str) -> Picture:
    return Picture(encode_jpeg(pixels, _QUALITY), caption)


def _shrink(array: np.ndarray, size: float | tuple[int, ...], interpolation: int) -> np.ndarray:
    """Resize an image or a map by a factor, or to a size (h, w)."""
    if isinstance(size, float):
        size = tuple(max(1, round(size * side)) for side in array.shape[:2])
    if size == array.shape[:2]:
        return array
    return cv2.resize(array, size[::-1], interpolation=interpolation)


def _shrink_panel(panel: Panel, scale: float) -> Panel:
    if scale == 1:
        return panel
    segments = [replace(segment, box=_scale_box(segment.box, scale)) for segment in panel.segments]
    return replace(panel, ids=_shrink(panel.ids, scale, cv2.INTER_NEAREST), segments=segments)


def _scale_box(box: Box | None, scale: float) -> Box | None:
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return scale * x0, scale * y0, scale * x1, scale * y1
