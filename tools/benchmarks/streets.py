"""Synthetic streets: a semantic map of Cityscapes' 19 classes, and detections that cover most of each object in it.

As with a trained model, map and detections agree mostly and differ in details: masks end before the borders of their
objects, some objects are partly labeled as a similar class, and some labeled objects have no detection. Optionally
there is a long winding object with a detection at its end only: the worst case for filling.
"""

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from torch import Tensor

from unified_seg.data.datasets.cityscapes import build_cityscapes_table
from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.class_table import ClassTable

SEED = 0
SOFT_SIDE = 28  # side of a mask from the head of Mask R-CNN
# Half axes of the mask of an object, as a share of those of the object.
MASK_REACH = 0.88
# The thing of the same category that a semantic head confuses most with a thing; thing ids.
LOOK_ALIKE = {0: 1, 1: 0, 2: 3, 3: 4, 4: 3, 5: 4, 6: 7, 7: 6}
TRUCK = 3


@dataclass(frozen=True)
class Street:
    """A semantic map and detections; N = detections, (H, W) = the image.

    Attributes:
        labels: (H, W) uint8 semantic ids.
        boxes: (N, 4) float32, x0, y0, x1, y1 in pixels.
        soft_masks: (N, 28, 28) float32, probabilities inside the boxes.
        thing_ids: (N,) int64.
        scores: (N,) float32, above 0.5.
    """

    labels: Tensor
    boxes: Tensor
    soft_masks: Tensor
    thing_ids: Tensor
    scores: Tensor

    def masks(self) -> BoxMasks:
        return BoxMasks.from_soft(self.soft_masks, self.boxes, (self.labels.shape[0], self.labels.shape[1]))

    def draw_confidences(self) -> tuple[Tensor, Tensor]:
        """Return the confidence of each label and of its category as a head of stride 4 has them: (H, W) uint8.

        It is sure inside regions, and unsure where labels change within some pixels.
        """
        labels = self.labels.numpy()
        edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        unsure = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 3)
        levels = torch.from_numpy(255 - (100 * unsure / max(float(unsure.max()), 1e-6)).astype(np.uint8))
        return levels, (levels.float() * 0.5 + 128).to(torch.uint8).maximum(levels)


@cache
def unified_table() -> ClassTable:
    """Return the classes of Cityscapes: 8 things among 19 semantic ids, similar things in one category."""
    return build_cityscapes_table()


@cache
def separated_table() -> ClassTable:
    """Return the same classes in the convention of PanopticFPN: semantic id 0 = all things, then the stuff."""
    unified = unified_table()
    stuff = [c for c in unified.classes if not c.is_thing]
    metadata = SimpleNamespace(
        thing_classes=[c.name for c in unified.things],
        thing_dataset_id_to_contiguous_id={c.dataset_id: c.thing_id for c in unified.things},
        stuff_classes=["things", *(c.name for c in stuff)],
        stuff_dataset_id_to_contiguous_id={c.dataset_id: number for number, c in enumerate(stuff, start=1)},
        ignore_label=255,
    )
    return ClassTable.from_metadata(metadata)


def separated(labels: Tensor) -> Tensor:
    """Convert labels (H, W) of the unified table to int64 labels of the separated one."""
    is_thing = unified_table().is_thing
    numbers = np.where(is_thing, 0, np.cumsum(~is_thing))
    return torch.from_numpy(numbers).to(labels.device)[labels.long()]


def make_street(size: tuple[int, int], instances: int, winding: bool) -> Street:
    """Make a street, always the same for the same arguments.

    Args:
        size: (H, W).
        instances: N, at least 1.
        winding: whether one of the detections belongs to a long winding object.
    """
    random = np.random.default_rng(SEED)
    labels = _background(size)
    _add_unseen_parts(labels)
    boxes, thing_ids = [], []
    if winding:
        boxes.append(_add_winding_object(labels))
        thing_ids.append(TRUCK)
    for box in _grid(size, instances - len(boxes), random):
        thing_id = int(random.choice(len(LOOK_ALIKE), p=[0.3, 0.08, 0.4, 0.05, 0.04, 0.03, 0.03, 0.07]))
        _draw_object(labels, box, thing_id, mistaken=random.random() < 0.25)
        boxes.append(box)
        thing_ids.append(thing_id)
    soft = np.stack([_soft_mask(random) for _ in boxes])
    if winding:
        soft[0] = 1
    return Street(
        labels=torch.from_numpy(labels),
        boxes=torch.tensor(boxes, dtype=torch.float32),
        soft_masks=torch.from_numpy(soft),
        thing_ids=torch.tensor(thing_ids),
        scores=torch.from_numpy(random.uniform(0.55, 1, len(boxes)).astype(np.float32)),
    )


def _background(size: tuple[int, int]) -> np.ndarray:
    """Draw stuff in wavy bands, from the sky down to the road, with poles, lights and signs."""
    height, width = size
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns / width, rows / height
    labels = np.full(size, 10, dtype=np.uint8)
    # (semantic id, top of the band, height and number of its waves)
    for label, start, wave, count in (
        *((2, 0.02, 0.005, 3), (8, 0.40, 0.02, 5), (3, 0.44, 0.01, 4), (4, 0.47, 0.01, 7)),
        *((9, 0.49, 0.015, 6), (1, 0.52, 0.01, 3), (0, 0.56, 0.02, 2)),
    ):
        labels[y >= start + wave * np.sin(6.2832 * count * x + label)] = label
    for number, left in enumerate(np.linspace(0.6, 0.95, 5)):
        x0, x1 = int(left * width), int(left * width) + max(1, width // 200)
        labels[int(0.2 * height) : int(0.55 * height), x0:x1] = 5
        cv2.circle(labels, (x0, int(0.2 * height)), max(1, height // 60), 6 + number % 2, -1)
    return labels


def _add_unseen_parts(labels: np.ndarray) -> None:
    """Draw persons and a car without a detection, some large enough to be instances, some not."""
    height, width = labels.shape
    for x, y, reach, label in (
        (0.6, 0.1, 0.025, 13),
        (0.7, 0.08, 0.02, 11),
        (0.8, 0.1, 0.006, 11),
        (0.9, 0.1, 0.004, 13),
    ):
        radius = max(1, round(reach * height))
        cv2.ellipse(labels, (int(x * width), int(y * height)), (radius, 2 * radius), 0, 0, 360, label, -1)


def _add_winding_object(labels: np.ndarray) -> tuple[float, float, float, float]:
    """Draw a path that winds over the upper left; return the box of its beginning."""
    height, width = labels.shape
    path, gap = max(2, height // 85), max(1, height // 170)
    top, left, right = height // 25, width // 20, width // 2
    passes = max(2, (height * 6 // 25 - top) // (path + gap))
    label = int(unified_table().thing_to_semantic[TRUCK])
    for number in range(passes):
        y = top + number * (path + gap)
        labels[y : y + path, left:right] = label
        if number:
            turn = slice(right - path, right) if number % 2 else slice(left, left + path)
            labels[y - gap : y, turn] = label
    return left, top, left + 3 * path, top + path


def _grid(size: tuple[int, int], count: int, random: np.random.Generator) -> list[tuple[float, float, float, float]]:
    """Return boxes in the lower half, larger at the bottom; some neighbors overlap."""
    height, width = size
    top, bottom = 0.48 * height, 0.98 * height
    columns = int(np.ceil(np.sqrt(count * width / (bottom - top))))
    rows = int(np.ceil(count / columns)) if count else 0
    boxes = []
    for number in range(count):
        row, column = divmod(number, columns)
        cell_height, cell_width = (bottom - top) / rows, width / columns
        half_height = cell_height * random.uniform(0.3, 0.5) * (0.8 + 0.4 * row / rows)
        half_width = cell_width * random.uniform(0.3, 0.55)
        x = cell_width * (column + random.uniform(0.4, 0.6))
        y = top + cell_height * (row + random.uniform(0.4, 0.6))
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        x0, y0, x1, y1 = np.clip(box, 0, (width, height) * 2).tolist()
        boxes.append((x0, y0, x1, y1))
    return boxes


def _draw_object(labels: np.ndarray, box: tuple[float, float, float, float], thing_id: int, mistaken: bool) -> None:
    """Draw an ellipse that fills the box; the lower part of a mistaken one has the label of a similar class."""
    semantic = unified_table().thing_to_semantic
    x0, y0, x1, y1 = box
    rows, columns = np.ogrid[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
    y, x = (rows + 0.5 - (y0 + y1) / 2) / (y1 - y0) * 2, (columns + 0.5 - (x0 + x1) / 2) / (x1 - x0) * 2
    inside = x**2 + y**2 <= 1
    window = labels[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
    window[inside] = semantic[thing_id]
    if mistaken:
        window[inside & (y > 0.2)] = semantic[LOOK_ALIKE[thing_id]]


def _soft_mask(random: np.random.Generator) -> np.ndarray:
    """Return a (28, 28) ellipse with a wavy border, blurred like the masks of a mask head."""
    centers = (np.arange(SOFT_SIDE) + 0.5) / SOFT_SIDE * 2 - 1
    x, y = centers[None], centers[:, None]
    waves = 0.04 * np.sin(random.integers(3, 7) * np.arctan2(y, x) + random.uniform(0, 6))
    return (1 / (1 + np.exp(-20 * (MASK_REACH + waves - np.hypot(x, y))))).astype(np.float32)
