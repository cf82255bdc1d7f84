"""From polygons to label arrays, exactly as cityscapesScripts converts them.

Its json2labelImg and json2instanceImg draw the same polygons in the same order with different values, so one drawing
that numbers the objects holds all of them: labels, train ids and instances are look-ups in it.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """(H, W) arrays: `label_ids` and `train_ids` uint8, `instance_ids` uint16 (class id, or 1000 * id + number)."""

    label_ids: np.ndarray
    train_ids: np.ndarray
    instance_ids: np.ndarray


def _resolve(name: str) -> tuple[str, bool]:
    """The class that an annotated name stands for, and whether it is a group of it.

    Raises ValueError for a name that Cityscapes does not know.
    """
    if name in name2label:
        return name, False
    single = name.removesuffix("group")
    if single == name or single not in name2label:
        raise ValueError(f"Cityscapes has no label {name!r}")
    return single, True


def object_map(annotation: dict) -> np.ndarray:
    """(H, W) int32: at each pixel one plus the position in `annotation["objects"]` of the object seen there, or 0.

    Deleted objects and those whose class has a negative id are not drawn. Raises ValueError for unknown labels.
    """
    picture = Image.new("I", (annotation["imgWidth"], annotation["imgHeight"]), 0)
    pen = ImageDraw.Draw(picture)
    for position, obj in enumerate(annotation["objects"], start=1):
        name, _ = _resolve(obj["label"])
        if not obj.get("deleted") and name2label[name].id >= 0:
            pen.polygon([tuple(point) for point in obj["polygon"]], fill=position)
    return np.asarray(picture, dtype=np.int32)


def label_maps(annotation: dict, drawn: np.ndarray | None = None) -> LabelMaps:
    """The label arrays of a polygons JSON; `drawn` is its `object_map` if that is at hand.

    Instances are numbered by class in the order of the objects, hidden ones included; groups have the plain class id.
    Raises ValueError for unknown labels.
    """
    if drawn is None:
        drawn = object_map(annotation)
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


def panoptic(instance_ids: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """(H, W) instance ids -> the RGB picture (H, W, 3) uint8 and the segments_info of createPanopticImgs.

    Ids are those of the data set, not train ids; classes that the evaluation ignores stay black.
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
        mask = inverse == row
        columns, lines = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        x, y = int(columns[0]), int(lines[0])
        segments.append(
            {
                "id": segment,
                "category_id": label.id,
                "area": area,
                "bbox": [x, y, int(columns[-1]) - x + 1, int(lines[-1]) - y + 1],
                "iscrowd": int(grouped and label.hasInstances),
            }
        )
    return colors[inverse], segments
