"""Rows of buildings, walls, fences and hedges on both sides of the street."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Plane, comb, rectangle, rectangles
from toyscapes.objects.greenery import make_hedge, make_tree
from toyscapes.objects.street import FARTHEST, NEAREST, SIDES, Street
from toyscapes.presets import Preset
from toyscapes.sampling import occurs, pick, pick_weighted, scale_color, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

BUILDING_COLORS: tuple[Color, ...] = (
    (168, 104, 80), (196, 170, 132), (178, 136, 104), (204, 190, 166), (150, 112, 96),
)  # fmt: skip
CONCRETE: tuple[Color, ...] = ((128, 128, 132), (140, 138, 140))
SHARED_STONE: tuple[Color, ...] = ((140, 136, 132), (160, 112, 92), (176, 166, 148), (118, 116, 118))
FENCE_COLORS: tuple[Color, ...] = ((232, 228, 220), (226, 214, 190))
SHARED_BARS: tuple[Color, ...] = ((70, 72, 74), (108, 104, 100), (150, 150, 152))
WINDOW: Color = (58, 70, 86)
AWNINGS: tuple[Color, ...] = ((170, 40, 44), (40, 100, 70), (50, 70, 140), (210, 150, 40))

SEGMENTS = {
    "residential": {"building": 5.0, "wall": 1.6, "fence": 1.8, "hedge": 1.0},
    "commercial": {"building": 8.0, "wall": 0.8, "fence": 0.7},
    "industrial": {"building": 3.0, "wall": 2.6, "fence": 2.6, "hedge": 0.4},
    "park": {"building": 0.8, "wall": 1.6, "fence": 2.4, "hedge": 2.6},
}
# In meters along the street.
LENGTHS = {"building": (8.0, 16.0), "wall": (7.0, 14.0), "fence": (7.0, 14.0), "hedge": (6.0, 12.0)}
BLANK_LENGTH = (14.0, 24.0)


def make_rows(rng: np.random.Generator, preset: Preset, street: Street) -> list[SceneObject]:
    """Return the rows on both sides of the street, from far to near, with trees behind walls and fences."""
    objects: list[SceneObject] = []
    for i, side in enumerate(SIDES):
        objects += _make_row(rng, preset, street, side, street.facade[i])
    return sorted(objects, key=lambda obj: -obj.depth)


def _make_row(rng: np.random.Generator, preset: Preset, street: Street, side: int, line: float) -> list[SceneObject]:
    """Return the row of one side, with a gap at the junction."""
    objects: list[SceneObject] = []
    near = NEAREST
    while near < FARTHEST:
        faces_junction = False
        if street.junction and near >= street.junction[0] - 2.0 and near < street.junction[1]:
            near = street.junction[1] + 1.0
            faces_junction = True
        blank = near > 2.5 and occurs(rng, preset.blank_fronts)
        weights = SEGMENTS[street.kind] | {
            label: SEGMENTS[street.kind][label] * preset.low_fronts for label in ("wall", "fence")
        }
        label = pick(rng, ("building", "wall")) if blank else pick_weighted(rng, weights)
        far = near + rng.uniform(*(BLANK_LENGTH if blank else LENGTHS[label]))
        if street.junction and near < street.junction[0] < far + 3.0:
            far = street.junction[0]
        plane = Plane(street.camera, side * line, near, (0.0, 1.0))
        length = far - near
        if blank:
            objects += _make_blank_front(rng, street, plane, side, label, length)
        elif label == "building":
            objects.append(_make_building(rng, preset, street, plane, side, length, faces_junction))
        elif label == "wall":
            objects += [
                *_make_trees_behind(rng, street, side, line, near, far),
                _make_wall(rng, preset, street, plane, length),
            ]
        elif label == "fence":
            objects += [
                *_make_trees_behind(rng, street, side, line, near, far),
                _make_fence(rng, preset, plane, length),
            ]
        else:
            objects.append(make_hedge(rng, plane, length))
        near = far
    return objects


def _get_brightness(street: Street, side: int) -> float:
    """Return the brightness of the surfaces on one side of the street."""
    return 1.08 if side == street.sunny_side else 0.84


def _corner_outline(plane: Plane, side: int, length: float, height: float, breadth: float) -> np.ndarray:
    """Return the outline of a block with one face along the street and one towards the camera."""
    front = Plane(plane.camera, plane.across, plane.depth)
    flank = plane(np.array([(length, 0.0), (length, height), (0.0, height)]))
    return np.concatenate([flank, front(np.array([(side * breadth, height), (side * breadth, 0.0), (0.0, 0.0)]))])


def _make_building(
    rng: np.random.Generator, preset: Preset, street: Street, plane: Plane, side: int, length: float, wide: bool
) -> SceneObject:
    """Return a building with rows of windows on both visible faces."""
    industrial = street.kind == "industrial"
    height = rng.uniform(5.0, 8.0) if industrial else rng.uniform(6.0, 15.0)
    breadth = rng.uniform(20.0, 45.0) if wide else rng.uniform(8.0, 12.0)
    palette = SHARED_STONE + BUILDING_COLORS if preset.shared_looks else BUILDING_COLORS
    color = scale_color(vary_color(rng, pick(rng, palette)), _get_brightness(street, side))
    front = Plane(plane.camera, plane.across, plane.depth, (float(side), 0.0))
    face = Part(
        scale_color(color, 0.86 if side == street.sunny_side else 1.14), (front(rectangle(0, 0, breadth, height)),)
    )
    story, bay = rng.uniform(2.7, 3.3), rng.uniform(1.9, 3.2)
    width, pane = bay * rng.uniform(0.4, 0.6), story * rng.uniform(0.45, 0.6)
    glass = vary_color(rng, WINDOW, 20)
    floors = np.arange(1.0 if street.kind != "commercial" else story + 0.9, height - pane - 0.3, story)
    parts = [face]
    for wall, extent in ((plane, length), (front, breadth)):
        bays = np.arange(0.7, extent - width - 0.3, bay)
        if len(bays) and len(floors):
            parts.append(Part(glass, wall(rectangles(bays, floors, width, pane))))
        cornice = rectangle(0.0, height - 0.3, extent, height)
        parts.append(Part(scale_color(color, 0.75), (wall(cornice),)))
        if street.kind == "commercial":
            parts.append(Part(glass, (wall(rectangle(0.4, 0.5, extent - 0.4, story - 0.5)),)))
            awning = rectangle(0.3, story - 0.5, extent - 0.3, story + 0.15)
            parts.append(Part(vary_color(rng, pick(rng, AWNINGS)), (wall(awning),)))
        elif extent > 4:
            door = rng.uniform(1.0, extent - 2.0)
            size = (3.0, 3.2) if industrial else (1.1, 2.2)
            parts.append(Part(scale_color(color, 0.5), (wall(rectangle(door, 0.0, door + size[0], size[1])),)))
    outline = _corner_outline(plane, side, length, height, breadth)
    return SceneObject("building", outline, Material(color, "mottle", 0.05, (1.04, 0.92)), plane.depth, tuple(parts))


def _make_blank_front(
    rng: np.random.Generator, street: Street, plane: Plane, side: int, label: str, length: float
) -> list[SceneObject]:
    """Return a long front without windows. Building and wall differ only in the last bay: a door, or an iron gate."""
    height = rng.uniform(3.6, 6.0)
    color = scale_color(vary_color(rng, pick(rng, SHARED_STONE)), _get_brightness(street, side))
    material = Material(color, "mottle", 0.06, (1.04, 0.9))
    bay = min(3.4, length / 3)
    at_far_end = occurs(rng, 0.5)
    start = length - bay if at_far_end else 0.0
    courses = np.array([rectangle(0.0, v, length, v + 0.05) for v in np.arange(0.6, height, 0.6)])
    coping = rectangle(0.0, height - 0.18, length, height)
    parts = [Part(scale_color(color, 0.9), plane(courses)), Part(scale_color(color, 0.78), (plane(coping),))]
    if label == "building":
        door = rectangle(start + 0.4, 0.0, start + 1.5, 2.3)
        panes = rectangles(np.array([start + 1.9]), np.arange(0.9, height - 1.6, 2.4), bay - 2.2, 1.3)
        parts += [Part(scale_color(color, 0.45), (plane(door),)), Part(WINDOW, plane(panes))]
        outline = _corner_outline(plane, side, length, height, 9.0)
        return [SceneObject("building", outline, material, plane.depth, tuple(parts))]
    wall = SceneObject("wall", plane(rectangle(0.0, 0.0, length, height)), material, plane.depth, tuple(parts))
    gate = plane(np.array([start, 0.0]) + comb(bay, min(3.0, height), 0.3, 0.1, 0.2))
    return [wall, SceneObject("fence", gate, Material(pick(rng, SHARED_BARS)), plane.depth - 0.01)]


def _make_wall(rng: np.random.Generator, preset: Preset, street: Street, plane: Plane, length: float) -> SceneObject:
    """Return a garden or factory wall with a coping and panels."""
    side = 1 if plane.across > 0 else -1
    height = rng.uniform(2.2, 3.4)
    palette = SHARED_STONE if preset.shared_looks else CONCRETE
    color = scale_color(vary_color(rng, pick(rng, palette), 8), _get_brightness(street, side))
    coping = Part(scale_color(color, 1.25), (plane(rectangle(0.0, height - 0.25, length, height)),))
    seams = rectangles(np.arange(2.0, length - 0.2, 2.0), np.array([0.0]), 0.1, height - 0.25)
    parts = (Part(scale_color(color, 0.7), plane(seams)), coping) if len(seams) else (coping,)
    outline = plane(rectangle(0.0, 0.0, length, height))
    return SceneObject("wall", outline, Material(color, "mottle", 0.05, (1.0, 0.9)), plane.depth, parts)


def _make_fence(rng: np.random.Generator, preset: Preset, plane: Plane, length: float) -> SceneObject:
    """Return a railing with open gaps, or a picket fence whose gaps are part of its annotation."""
    height = rng.uniform(1.5, 2.3)
    if preset.open_structures and occurs(rng, 0.65):
        color = vary_color(rng, pick(rng, SHARED_BARS))
        outline = plane(comb(length, height, rng.uniform(0.3, 0.5), rng.uniform(0.07, 0.12), 0.14))
        return SceneObject("fence", outline, Material(color), plane.depth)
    color = vary_color(rng, pick(rng, SHARED_BARS if preset.shared_looks else FENCE_COLORS))
    gaps = rectangles(np.arange(0.2, length - 0.2, 0.5), np.array([0.0, height * 0.52]), 0.24, height * 0.36)
    parts = (Part(scale_color(color, 0.4), plane(gaps)),)
    return SceneObject("fence", plane(rectangle(0.0, 0.0, length, height)), Material(color), plane.depth, parts)


def _make_trees_behind(
    rng: np.random.Generator, street: Street, side: int, line: float, near: float, far: float
) -> list[SceneObject]:
    """Return trees that are visible above a wall or through a fence."""
    trees = []
    for depth in np.arange(max(near, 4.0), far, 6.0):
        if occurs(rng, 0.6):
            behind = side * (line + rng.uniform(3.0, 8.0))
            trees.append(make_tree(rng, Plane(street.camera, behind, far + depth - near + 0.5), rng.uniform(5.0, 9.0)))
    return trees
