"""Conversion of polygons to label arrays, equal to that of cityscapesScripts.

json2labelImg and json2instanceImg draw the same polygons in the same order with different values. Here the polygons are
drawn once, with the index of the object as value; labels, train ids and instance ids are look-ups of this index.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import id2label, labels, name2label
from PIL import Image, ImageDraw

CATEGORIES = [
    {
        "id": label.id,
        "name": label.name,
        "color": list(label.color),
        "supercategory": label.category,
        "isthing": int(label.hasInstances),
    }
    for label in labels
    if not label.ignoreInEval
]


@dataclass(frozen=True)
class LabelMaps:
    """Label arrays of one image, each (H, W).

    Attributes:
        label_ids: uint8.
        train_ids: uint8.
        instance_ids: uint16; 1000 * label id + number for an instance, else the label id.
    """

    label_ids: np.ndarray
    train_ids: np.ndarray
    instance_ids: np.ndarray


def _resolve(name: str) -> tuple[str, bool]:
    """Return the class of an annotated name, and whether the name is that of a group ("cargroup").

    Raises:
        ValueError: a name that is not a label of Cityscapes.
    """
    if name in name2label:
        return name, False
    single = name.removesuffix("group")
    if single == name or single not in name2label:
        raise ValueError(f"Cityscapes has no label {name!r}")
    return single, True


def draw_object_map(annotation: dict) -> np.ndarray:
    """Return, per pixel, one plus the index in `annotation["objects"]` of the visible object; 0 for no object.

    Deleted objects and classes with a negative id are not drawn.

    Returns:
        (H, W) int32.

    Raises:
        ValueError: an unknown label.
    """
    image = Image.new("I", (annotation["imgWidth"], annotation["imgHeight"]), 0)
    canvas = ImageDraw.Draw(image)
    for position, obj in enumerate(annotation["objects"], start=1):
        name, _ = _resolve(obj["label"])
        if not obj.get("deleted") and name2label[name].id >= 0:
            canvas.polygon([tuple(point) for point in obj["polygon"]], fill=position)
    return np.asarray(image, dtype=np.int32)


def make_label_maps(annotation: dict, drawn: np.ndarray | None = None) -> LabelMaps:
    """Return the label arrays of a polygons JSON.

    Instances are numbered per class in the order of the objects, including hidden ones; groups have the label id.

    Args:
        annotation: the content of the JSON.
        drawn: its `draw_object_map`, if already computed.

    Raises:
        ValueError: an unknown label.
    """
    if drawn is None:
        drawn = draw_object_map(annotation)
    unlabeled = name2label["unlabeled"]
    rows = [(unlabeled.id, unlabeled.trainId, unlabeled.id)]
    numbers: dict[str, int] = {}
    for obj in annotation["objects"]:
        name, is_group = _resolve(obj["label"])
        label = name2label[name]
        instance = label.id
        if label.hasInstances and not is_group and not obj.get("deleted"):
            number = numbers.get(name, 0)
            numbers[name] = number + 1
            instance = label.id * 1000 + number
        rows.append((label.id, label.trainId, instance))
    table = np.array(rows)
    return LabelMaps(
        table[:, 0].astype(np.uint8)[drawn], table[:, 1].astype(np.uint8)[drawn], table[:, 2].astype(np.uint16)[drawn]
    )


def encode_panoptic(instance_ids: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Return the RGB image, (H, W, 3) uint8, and the segments_info that createPanopticImgs makes of instance ids.

    Category ids are label ids, not train ids; classes that are ignored in the evaluation are black.

    Args:
        instance_ids: (H, W).
    """
    ids, inverse, areas = np.unique(instance_ids, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(instance_ids.shape)
    colors = np.zeros((len(ids), 3), np.uint8)
    segments = []
    for row, (segment, area) in enumerate(zip(ids.tolist(), areas.tolist(), strict=True)):
        grouped = segment < 1000
        label = id2label[segment if grouped else segment // 1000]
        if label.ignoreInEval:
            continue
        colors[row] = segment % 256, segment // 256, 0
        segments.append(
            {
                "id": segment,
                "category_id": label.id,
                "area": area,
                "bbox": list(cv2.boundingRect((inverse == row).view(np.uint8))),
                "iscrowd": int(grouped and label.hasInstances),
            }
        )
    return colors[inverse], segments
