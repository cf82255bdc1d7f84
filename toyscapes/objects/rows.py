"""The rows along both sides of the street: buildings, walls, fences and hedges."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Plane, comb, rectangle, rectangles
from toyscapes.objects.greenery import hedge, tree
from toyscapes.objects.street import FARTHEST, NEAREST, SIDES, Street
from toyscapes.presets import Preset
from toyscapes.sampling import chance, pick, pick_weighted, scaled, vary
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


def rows(rng: np.random.Generator, preset: Preset, street: Street) -> list[SceneObject]:
    """Both sides of the street from far to near, trees behind what is low."""
    objects: list[SceneObject] = []
    for i, side in enumerate(SIDES):
        objects += _row(rng, preset, street, side, street.facade[i])
    return sorted(objects, key=lambda obj: -obj.depth)


def _row(rng: np.random.Generator, preset: Preset, street: Street, side: int, line: float) -> list[SceneObject]:
    """One side, built from near to far with gaps at the junction."""
    objects: list[SceneObject] = []
    near = NEAREST
    while near < FARTHEST:
        faces_junction = False
        if street.junction and near >= street.junction[0] - 2.0 and near < street.junction[1]:
            near = street.junction[1] + 1.0
            faces_junction = True
        blank = near > 2.5 and chance(rng, preset.blank_fronts)
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
            objects += _blank_front(rng, street, plane, side, label, length)
        elif label == "building":
            objects.append(_building(rng, preset, street, plane, side, length, faces_junction))
        elif label == "wall":
            objects += [*_trees_behind(rng, street, side, line, near, far), _wall(rng, preset, street, plane, length)]
        elif label == "fence":
            objects += [*_trees_behind(rng, street, side, line, near, far), _fence(rng, preset, plane, length)]
        else:
            objects.append(hedge(rng, plane, length))
        near = far
    return objects


def _lit(street: Street, side: int) -> float:
    """Brightness of what faces the street on that side."""
    return 1.08 if side == street.sunny_side else 0.84


def _corner_outline(plane: Plane, side: int, length: float, height: float, breadth: float) -> np.ndarray:
    """The silhouette of a block with a flank along the street and a front towards the camera."""
    front = Plane(plane.camera, plane.across, plane.depth)
    flank = plane(np.array([(length, 0.0), (length, height), (0.0, height)]))
    return np.concatenate([flank, front(np.array([(side * breadth, height), (side * breadth, 0.0), (0.0, 0.0)]))])


def _building(
    rng: np.random.Generator, preset: Preset, street: Street, plane: Plane, side: int, length: float, wide: bool
) -> SceneObject:
    """A house, shop or hall with rows of windows on both visible faces."""
    industrial = street.kind == "industrial"
    height = rng.uniform(5.0, 8.0) if industrial else rng.uniform(6.0, 15.0)
    breadth = rng.uniform(20.0, 45.0) if wide else rng.uniform(8.0, 12.0)
    palette = SHARED_STONE + BUILDING_COLORS if preset.shared_looks else BUILDING_COLORS
    color = scaled(vary(rng, pick(rng, palette)), _lit(street, side))
    front = Plane(plane.camera, plane.across, plane.depth, (float(side), 0.0))
    face = Part(scaled(color, 0.86 if side == street.sunny_side else 1.14), (front(rectangle(0, 0, breadth, height)),))
    storey, bay = rng.uniform(2.7, 3.3), rng.uniform(1.9, 3.2)
    width, pane = bay * rng.uniform(0.4, 0.6), storey * rng.uniform(0.45, 0.6)
    glass = vary(rng, WINDOW, 20)
    floors = np.arange(1.0 if street.kind != "commercial" else storey + 0.9, height - pane - 0.3, storey)
    parts = [face]
    for wall, extent in ((plane, length), (front, breadth)):
        bays = np.arange(0.7, extent - width - 0.3, bay)
        if len(bays) and len(floors):
            parts.append(Part(glass, wall(rectangles(bays, floors, width, pane))))
        cornice = rectangle(0.0, height - 0.3, extent, height)
        parts.append(Part(scaled(color, 0.75), (wall(cornice),)))
        if street.kind == "commercial":
            parts.append(Part(glass, (wall(rectangle(0.4, 0.5, extent - 0.4, storey - 0.5)),)))
            awning = rectangle(0.3, storey - 0.5, extent - 0.3, storey + 0.15)
            parts.append(Part(vary(rng, pick(rng, AWNINGS)), (wall(awning),)))
        elif extent > 4:
            door = rng.uniform(1.0, extent - 2.0)
            size = (3.0, 3.2) if industrial else (1.1, 2.2)
            parts.append(Part(scaled(color, 0.5), (wall(rectangle(door, 0.0, door + size[0], size[1])),)))
    outline = _corner_outline(plane, side, length, height, breadth)
    return SceneObject("building", outline, Material(color, "mottle", 0.05, (1.04, 0.92)), plane.depth, tuple(parts))


def _blank_front(
    rng: np.random.Generator, street: Street, plane: Plane, side: int, label: str, length: float
) -> list[SceneObject]:
    """A long windowless front, building or wall alike but for the last bay: an entrance, or an iron gate."""
    height = rng.uniform(3.6, 6.0)
    color = scaled(vary(rng, pick(rng, SHARED_STONE)), _lit(street, side))
    material = Material(color, "mottle", 0.06, (1.04, 0.9))
    bay = min(3.4, length / 3)
    at_far_end = chance(rng, 0.5)
    start = length - bay if at_far_end else 0.0
    courses = np.array([rectangle(0.0, v, length, v + 0.05) for v in np.arange(0.6, height, 0.6)])
    coping = rectangle(0.0, height - 0.18, length, height)
    parts = [Part(scaled(color, 0.9), plane(courses)), Part(scaled(color, 0.78), (plane(coping),))]
    if label == "building":
        door = rectangle(start + 0.4, 0.0, start + 1.5, 2.3)
        panes = rectangles(np.array([start + 1.9]), np.arange(0.9, height - 1.6, 2.4), bay - 2.2, 1.3)
        parts += [Part(scaled(color, 0.45), (plane(door),)), Part(WINDOW, plane(panes))]
        outline = _corner_outline(plane, side, length, height, 9.0)
        return [SceneObject("building", outline, material, plane.depth, tuple(parts))]
    wall = SceneObject("wall", plane(rectangle(0.0, 0.0, length, height)), material, plane.depth, tuple(parts))
    gate = plane(np.array([start, 0.0]) + comb(bay, min(3.0, height), 0.3, 0.1, 0.2))
    return [wall, SceneObject("fence", gate, Material(pick(rng, SHARED_BARS)), plane.depth - 0.01)]


def _wall(rng: np.random.Generator, preset: Preset, street: Street, plane: Plane, length: float) -> SceneObject:
    """A garden or factory wall with a coping and panels."""
    side = 1 if plane.across > 0 else -1
    height = rng.uniform(2.2, 3.4)
    palette = SHARED_STONE if preset.shared_looks else CONCRETE
    color = scaled(vary(rng, pick(rng, palette), 8), _lit(street, side))
    coping = Part(scaled(color, 1.25), (plane(rectangle(0.0, height - 0.25, length, height)),))
    seams = rectangles(np.arange(2.0, length - 0.2, 2.0), np.array([0.0]), 0.1, height - 0.25)
    parts = (Part(scaled(color, 0.7), plane(seams)), coping) if len(seams) else (coping,)
    outline = plane(rectangle(0.0, 0.0, length, height))
    return SceneObject("wall", outline, Material(color, "mottle", 0.05, (1.0, 0.9)), plane.depth, parts)


def _fence(rng: np.random.Generator, preset: Preset, plane: Plane, length: float) -> SceneObject:
    """A railing that one can look through, or a picket fence that is annotated as a whole."""
    height = rng.uniform(1.5, 2.3)
    if preset.open_structures and chance(rng, 0.65):
        color = vary(rng, pick(rng, SHARED_BARS))
        outline = plane(comb(length, height, rng.uniform(0.3, 0.5), rng.uniform(0.07, 0.12), 0.14))
        return SceneObject("fence", outline, Material(color), plane.depth)
    color = vary(rng, pick(rng, SHARED_BARS if preset.shared_looks else FENCE_COLORS))
    gaps = rectangles(np.arange(0.2, length - 0.2, 0.5), np.array([0.0, height * 0.52]), 0.24, height * 0.36)
    parts = (Part(scaled(color, 0.4), plane(gaps)),)
    return SceneObject("fence", plane(rectangle(0.0, 0.0, length, height)), Material(color), plane.depth, parts)


def _trees_behind(
    rng: np.random.Generator, street: Street, side: int, line: float, near: float, far: float
) -> list[SceneObject]:
    """What shows above a wall and through a fence."""
    trees = []
    for depth in np.arange(max(near, 4.0), far, 6.0):
        if chance(rng, 0.6):
            behind = side * (line + rng.uniform(3.0, 8.0))
            trees.append(tree(rng, Plane(street.camera, behind, far + depth - near + 0.5), rng.uniform(5.0, 9.0)))
    return trees
