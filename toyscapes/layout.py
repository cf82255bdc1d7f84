"""Composition of a scene from (preset, seed, split, index)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from cityscapesscripts.helpers.labels import name2label

from toyscapes.labels import draw_object_map
from toyscapes.objects.backdrop import make_backdrop
from toyscapes.objects.furniture import make_border, make_ego_vehicle
from toyscapes.objects.ground import make_ground
from toyscapes.objects.rows import make_rows
from toyscapes.objects.street import sample_street
from toyscapes.objects.traffic import Traffic
from toyscapes.presets import PRESETS, SPLITS, VERSION, Preset
from toyscapes.sampling import occurs, scene_generator
from toyscapes.scene import Scene, SceneObject, annotate, clip_object

# `Preset.min_pixels` counts pixels at this size, for images of any size.
REFERENCE_SIZE = (128, 256)

CITIES = {
    "train": ("ahornheim", "birkenau", "buchfurt", "eichstadt", "erlenbach", "eschenburg", "fichtelberg", "lindenthal"),
    "heldout": ("kastanienhof", "pappelhausen"),
    "val": ("tannwald", "ulmenfeld", "weidenbruck"),
}
IMAGES_PER_CITY = 100


def get_preset(name: str) -> Preset:
    """Return the preset of a name. Raises ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}, expected one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def scene_name(split: str, index: int) -> str:
    """Return the name of a scene as Cityscapes writes it, <city>_<sequence>_<frame>.

    Raises:
        ValueError: an unknown split, or a negative index.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}, expected one of {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"index must not be negative, got {index}")
    cities = CITIES[split]
    city = cities[index // IMAGES_PER_CITY % len(cities)]
    return f"{city}_{index:06d}_000019"


def make_scene(preset: str, seed: int, split: str, index: int) -> Scene:
    """Compose one scene. The same arguments give the same scene on every machine.

    Raises:
        ValueError: an unknown preset or split, or a negative index.
    """
    config = get_preset(preset)
    name = scene_name(split, index)
    rng = scene_generator(VERSION, preset, seed, split, index)
    street = sample_street(rng, config)
    objects = [
        *make_backdrop(rng, street),
        *make_ground(rng, config, street),
        *make_rows(rng, config, street),
    ]
    traffic = Traffic(rng, config, street)
    traffic.populate(split)
    objects += traffic.objects
    if occurs(rng, config.ego_vehicle):
        objects.append(make_ego_vehicle(rng))
    if occurs(rng, config.border):
        objects += make_border(rng)
    visible = tuple(kept for kept in map(clip_object, objects) if kept is not None)
    scene = Scene(name, street.camera, visible, tuple(traffic.shadows), street.lighting, int(rng.integers(2**31)))
    return _remove_hidden(scene, config)


def _remove_hidden(scene: Scene, preset: Preset) -> Scene:
    """Remove things of which too few pixels are visible, as annotators do."""
    visible, whole = measure_visibility(scene)
    kept = tuple(
        obj
        for obj, seen, full in zip(scene.objects, visible, whole, strict=True)
        if not _is_thing(obj) or (seen >= preset.min_pixels and seen >= preset.min_visible * full)
    )
    return replace(scene, objects=kept)


def measure_visibility(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the visible pixels of each object, and the area of its polygon without holes; both (N,) at 128x256."""
    size = REFERENCE_SIZE
    visible = np.bincount(draw_object_map(annotate(scene, size)).ravel(), minlength=len(scene.objects) + 1)[1:]
    whole = np.array([_polygon_area(obj.polygon) for obj in scene.objects]) * size[0] * size[1] / 2.0
    return visible, whole


def _polygon_area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _is_thing(obj: SceneObject) -> bool:
    return obj.label in name2label and name2label[obj.label].hasInstances
