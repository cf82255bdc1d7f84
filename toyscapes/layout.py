"""From (preset, seed, split, index) to a scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from cityscapesscripts.helpers.labels import name2label

from toyscapes.labels import object_map
from toyscapes.objects.backdrop import backdrop
from toyscapes.objects.furniture import border, ego_vehicle
from toyscapes.objects.ground import ground
from toyscapes.objects.rows import rows
from toyscapes.objects.street import sample_street
from toyscapes.objects.traffic import Traffic
from toyscapes.presets import PRESETS, SPLITS, VERSION, Preset
from toyscapes.sampling import chance, scene_generator
from toyscapes.scene import Scene, SceneObject, annotation, settled

# The size at which `Preset.min_pixels` counts, whatever the size of the picture.
REFERENCE_SIZE = (128, 256)

CITIES = {
    "train": ("ahornheim", "birkenau", "buchfurt", "eichstadt", "erlenbach", "eschenburg", "fichtelberg", "lindenthal"),
    "heldout": ("kastanienhof", "pappelhausen"),
    "val": ("tannwald", "ulmenfeld", "weidenbruck"),
}
IMAGES_PER_CITY = 100


def check_preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError if there is none."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def scene_name(split: str, index: int) -> str:
    """The Cityscapes name of a scene, <city>_<sequence>_<frame>; it depends on nothing but split and index.

    Raises ValueError for an unknown split or a negative index.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"index must not be negative, got {index}")
    cities = CITIES[split]
    city = cities[index // IMAGES_PER_CITY % len(cities)]
    return f"{city}_{index:06d}_000019"


def make_scene(preset: str, seed: int, split: str, index: int) -> Scene:
    """Draw one scene. The same arguments give the same scene on every machine.

    Raises ValueError for an unknown preset or split or a negative index.
    """
    config = check_preset(preset)
    name = scene_name(split, index)
    rng = scene_generator(VERSION, preset, seed, split, index)
    street = sample_street(rng, config)
    objects = [
        *backdrop(rng, street),
        *ground(rng, config, street),
        *rows(rng, config, street),
    ]
    traffic = Traffic(rng, config, street)
    traffic.populate(split)
    objects += traffic.objects
    if chance(rng, config.ego_vehicle):
        objects.append(ego_vehicle(rng))
    if chance(rng, config.border):
        objects += border(rng)
    in_sight = tuple(kept for kept in map(settled, objects) if kept is not None)
    scene = Scene(name, street.camera, in_sight, tuple(traffic.shadows), street.lighting, int(rng.integers(2**31)))
    return _without_hidden(scene, config)


def _without_hidden(scene: Scene, preset: Preset) -> Scene:
    """Leave out things of which too little can be seen, as annotators do."""
    visible, whole = visible_and_whole(scene)
    kept = tuple(
        obj
        for obj, seen, full in zip(scene.objects, visible, whole, strict=True)
        if not _is_thing(obj) or (seen >= preset.min_pixels and seen >= preset.min_visible * full)
    )
    return replace(scene, objects=kept)


def visible_and_whole(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pixels at 128x256 that can be seen of each object, and the area of its whole polygon (holes left out)."""
    size = REFERENCE_SIZE
    visible = np.bincount(object_map(annotation(scene, size)).ravel(), minlength=len(scene.objects) + 1)[1:]
    whole = np.array([_area(obj.polygon) for obj in scene.objects]) * size[0] * size[1] / 2.0
    return visible, whole


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _is_thing(obj: SceneObject) -> bool:
    return obj.label in name2label and name2label[obj.label].hasInstances
