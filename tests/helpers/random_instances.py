"""Random instances of images, and the detections of an imperfect model, as average precision takes them."""

from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from toyscapes import make_scene
from toyscapes.labels import make_label_maps
from toyscapes.scene import annotate
from unified_seg.data.coco.masks import Rle
from unified_seg.evaluation.instances.objects import Detection, GroundTruthInstance, ImageInstances

Box = tuple[float, float, float, float]


def draw_images(seed: int) -> tuple[list[ImageInstances], list[str], int]:
    """Draw some small images with crowds, equal scores, empty images and all sizes of objects.

    Returns:
        The images, the names of the classes, and the number of detections that count.
    """
    random = np.random.default_rng(seed)
    classes = int(random.integers(1, 5))
    size = (40, 47) if random.random() < 0.5 else (130, 137)
    levels = int(random.choice([1, 3, 10, 1000]))
    images = []
    for _ in range(int(random.integers(1, 4))):
        objects = [_draw_object(random, size, classes) for _ in range(int(random.integers(0, 6)))]
        images.append(
            ImageInstances([each for each, _ in objects], _detect(random, objects, size, classes, levels), None)
        )
    return images, [f"class {i}" for i in range(classes)], int(random.choice([0, 1, 2, 5, 100]))


def draw_toyscapes(count: int, size: tuple[int, int]) -> tuple[list[ImageInstances], list[str]]:
    """Return the instances of Toyscapes scenes with the detections of an imperfect model, and the class names."""
    random = np.random.default_rng(0)
    names = ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]  # label ids from 24
    label_ids = [24, 25, 26, 27, 28, 31, 32, 33]
    images = []
    for index in range(count):
        ids = make_label_maps(annotate(make_scene("standard", 0, "val", index), size)).instance_ids.astype(np.int64)
        objects = []
        for value in np.unique(ids).tolist():
            label_id = value // 1000 if value >= 1000 else value
            if label_id in label_ids:
                # A group of objects has the label id alone.
                instance = _make_object(ids == value, label_ids.index(label_id), is_crowd=value < 1000)
                objects.append((instance, ids == value))
        found = _detect(random, objects, size, len(names), levels=1000)
        images.append(ImageInstances([each for each, _ in objects], found, None))
    return images, names


def _draw_object(
    random: np.random.Generator, size: tuple[int, int], classes: int
) -> tuple[GroundTruthInstance, np.ndarray]:
    mask = _draw_mask(random, size)
    return _make_object(mask, int(random.integers(classes)), bool(random.random() < 0.2)), mask


def _make_object(mask: np.ndarray, thing_id: int, is_crowd: bool) -> GroundTruthInstance:
    return GroundTruthInstance(thing_id, _find_box(mask), float(mask.sum()), is_crowd, encode(mask))


def _draw_mask(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw a rectangle; of some only every other column, so that the mask is smaller than its box."""
    mask = np.zeros(size, dtype=bool)
    height, width = (int(random.integers(1, side)) for side in size)
    top, left = int(random.integers(size[0] - height + 1)), int(random.integers(size[1] - width + 1))
    mask[top : top + height, left : left + width : 2 if random.random() < 0.2 else 1] = True
    return mask


def _detect(
    random: np.random.Generator,
    objects: list[tuple[GroundTruthInstance, np.ndarray]],
    size: tuple[int, int],
    classes: int,
    levels: int,
) -> list[Detection]:
    """Detect objects not at all, several times, shifted, or with another class; and find some that do not exist."""
    found = [
        (np.roll(mask, random.integers(-2, 3, size=2), axis=(0, 1)), each.thing_id)
        for each, mask in objects
        for _ in range(int(random.integers(0, 4)))
    ]
    found += [(_draw_mask(random, size), int(random.integers(classes))) for _ in range(int(random.integers(0, 3)))]
    detections = []
    for mask, thing_id in found:
        box = np.array(_find_box(mask)) + random.choice([0, 0.25], size=4)
        confused = random.random() < 0.2
        score = float(random.integers(1, levels + 1) / levels)
        detections.append(
            Detection(int(random.integers(classes)) if confused else thing_id, score, box.tolist(), encode(mask))
        )
    return detections


def _find_box(mask: np.ndarray) -> Box:
    x, y, width, height = mask_util.toBbox(_encode(mask)).tolist()
    return x, y, width, height


def encode(mask: np.ndarray) -> Rle:
    rle = _encode(mask)
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def _encode(mask: np.ndarray) -> Any:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
