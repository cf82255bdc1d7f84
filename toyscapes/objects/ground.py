"""The ground: land, aprons, sidewalks, the road with its markings, and a crossing road or railway."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Ground, rectangle
from toyscapes.objects.street import NEAREST, SIDES, Street
from toyscapes.presets import Preset
from toyscapes.sampling import occurs, scale_color, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

ASPHALT: Color = (92, 92, 96)
PAVING: Color = (158, 150, 146)
GRASS: Color = (128, 146, 70)
PAINT: Color = (222, 222, 216)
RAIL: Color = (140, 130, 124)


def make_ground(rng: np.random.Generator, preset: Preset, street: Street) -> list[SceneObject]:
    """Return the polygons of the ground, from the land to the road and what crosses it."""
    camera, floor = street.camera, Ground(street.camera)
    edge = camera.horizon - 0.004
    asphalt = vary_color(rng, ASPHALT, 10)
    paving = vary_color(rng, asphalt if preset.shared_looks and occurs(rng, 0.4) else PAVING, 10)
    road_look = Material(asphalt, "mottle", 0.05, (1.12, 0.94))
    walk_look = Material(paving, "mottle", 0.05, (1.08, 0.96))
    land_look = (
        walk_look if street.ground == "sidewalk" else Material(vary_color(rng, GRASS), "grass", 0.12, (1.1, 0.9))
    )

    def strip(label: str, left: float, right: float, look: Material, parts: tuple[Part, ...] = ()) -> SceneObject:
        corners = [(left, 500.0), (right, 500.0), (right, NEAREST), (left, NEAREST)]
        return SceneObject(label, floor(np.array(corners)), look, NEAREST, parts)

    objects = [SceneObject(street.ground, rectangle(-0.1, edge, 2.1, 1.1), land_look, NEAREST)]
    for i, side in enumerate(SIDES):
        if street.apron and street.apron[1] == side:
            objects.append(strip(street.apron[0], side * street.walk[i], side * street.facade[i], road_look))
        joints = np.array([rectangle(side * street.curb[i], z, side * street.walk[i], z + 0.06)
                           for z in np.arange(2.0, 24.0, 1.2)])  # fmt: skip
        curb = rectangle(side * street.curb[i], NEAREST, side * (street.curb[i] + 0.2), 80.0)
        parts = (Part(scale_color(paving, 0.86), floor(joints)), Part(scale_color(paving, 1.18), (floor(curb),)))
        objects.append(strip("sidewalk", side * street.curb[i], side * street.walk[i], walk_look, parts))
    markings = tuple(part.mapped(floor) for part in _make_markings(street))
    objects.append(strip("road", -street.curb[0], street.curb[1], road_look, markings))
    if street.junction:
        objects += _make_crossing(street, street.junction, road_look)
    return objects


def _make_markings(street: Street) -> list[Part]:
    """Return the dashed middle line, edge lines and a crosswalk before the junction, in ground coordinates."""
    left, right = street.curb
    middle = (right - left) / 2
    dashes = np.array([rectangle(middle - 0.09, z, middle + 0.09, z + 2.2) for z in np.arange(2.0, 60.0, 4.5)])
    lines = [rectangle(x, NEAREST, x + 0.12, 80.0) for x in (-left + 0.35, right - 0.47)]
    parts = [Part(PAINT, dashes), Part(PAINT, lines)]
    if street.junction:
        near = street.junction[0]
        bars = np.arange(0.3 - left, right - 0.6, 1.0)
        stripes = np.array([rectangle(x, near - 3.4, x + 0.5, near - 0.8) for x in bars])
        parts.append(Part(PAINT, stripes))
    return parts


def _make_crossing(street: Street, depths: tuple[float, float], look: Material) -> list[SceneObject]:
    """Return the crossing road; for a railway, with rails on a strip of void."""
    near, far = depths
    floor = Ground(street.camera)
    objects = [SceneObject("road", floor(rectangle(-60.0, far, 60.0, near)), look, near)]
    if street.junction_is_railway:
        middle = (near + far) / 2
        bed = rectangle(-60.0, middle - 1.3, 60.0, middle + 1.3)
        rails = np.array([rectangle(-60.0, middle + z, 60.0, middle + z + 0.16) for z in (-0.8, 0.7)])
        ballast = Material((110, 98, 90), "grain", 0.12)
        objects.append(SceneObject("rail track", floor(bed), ballast, near, (Part(RAIL, floor(rails)),)))
    return objects
