"""Poles with lamps, traffic lights and signs, static objects, and the border regions of the image."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Plane, disc, rectangle
from toyscapes.presets import Preset
from toyscapes.sampling import pick, pick_weighted, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

STEEL: tuple[Color, ...] = ((96, 98, 102), (70, 74, 78), (128, 130, 132))
# From top to bottom.
LAMPS: tuple[Color, ...] = ((250, 40, 30), (250, 180, 30), (40, 230, 110))
RED: Color = (204, 24, 34)
WHITE: Color = (238, 238, 234)
BLUE: Color = (26, 70, 180)
YELLOW: Color = (240, 196, 30)


def make_pole(rng: np.random.Generator, preset: Preset, plane: Plane) -> list[SceneObject]:
    """Return a pole with a lamp, a traffic light or a sign; the origin of `plane` is its foot."""
    carries = pick_weighted(rng, {"lamp": 0.24, "light": 0.38, "sign": 0.38})
    half = rng.uniform(*preset.pole_width) / 2
    material = Material(vary_color(rng, pick(rng, STEEL)), "grain", 0.04)
    if carries == "lamp":
        return [_make_lamp_post(rng, plane, half, material)]
    height = rng.uniform(2.6, 3.4)
    stand = SceneObject("pole", plane(rectangle(-half, 0.0, half, height)), material, plane.depth)
    build = _make_traffic_light if carries == "light" else _make_traffic_sign
    return [stand, build(rng, preset, plane, height)]


def _make_lamp_post(rng: np.random.Generator, plane: Plane, half: float, material: Material) -> SceneObject:
    """Return a street lamp with an arm over the road."""
    height, reach = rng.uniform(5.5, 7.5), rng.uniform(1.0, 1.8)
    arm = reach if plane.across < 0 else -reach
    inner = half if arm > 0 else -half
    outline = np.array(
        [(-inner, 0.0), (-inner, height), (arm, height + 0.3), (arm, height + 0.3 - 2 * half),
         (inner, height - 2 * half), (inner, 0.0)]
    )  # fmt: skip
    lantern = Part((250, 240, 200), (plane(rectangle(arm - 0.4, height - 0.1, arm, height + 0.3)),))
    return SceneObject("pole", plane(outline), material, plane.depth, (lantern,))


def _make_traffic_light(rng: np.random.Generator, preset: Preset, plane: Plane, top: float) -> SceneObject:
    half, height = 0.2 * preset.furniture_scale, 1.0 * preset.furniture_scale
    low = top - 0.35 * height
    lit = pick(rng, LAMPS)
    parts = []
    for row, color in enumerate(LAMPS):
        lens = disc(0.0, low + height * (2.5 - row) / 3, half * 0.72)
        parts.append(Part(color if color == lit else (46, 44, 42), (plane(lens),)))
    box = plane(rectangle(-half, low, half, low + height))
    return SceneObject("traffic light", box, Material((24, 26, 28)), plane.depth - 0.01, tuple(parts))


def _make_traffic_sign(rng: np.random.Generator, preset: Preset, plane: Plane, top: float) -> SceneObject:
    radius = rng.uniform(0.36, 0.48) * preset.furniture_scale
    shape = pick(rng, ("round", "triangle", "square", "diamond"))
    if shape == "round":
        outline, edge, inner = disc(0.0, top, radius), *pick(rng, ((RED, WHITE), (BLUE, BLUE), (RED, RED)))
    elif shape == "triangle":
        outline = np.array([(-radius, top - 0.6 * radius), (0.0, top + radius), (radius, top - 0.6 * radius)])
        edge, inner = RED, WHITE
    elif shape == "square":
        outline, edge, inner = rectangle(-radius, top - radius, radius, top + radius), WHITE, BLUE
    else:
        outline = np.array([(-radius, top), (0.0, top + radius), (radius, top), (0.0, top - radius)])
        edge, inner = WHITE, YELLOW
    middle = outline.mean(axis=0)
    field = Part(inner, (plane(middle + (outline - middle) * 0.62),))
    return SceneObject("traffic sign", plane(outline), Material(edge), plane.depth - 0.01, (field,))


def make_clutter(rng: np.random.Generator, plane: Plane) -> SceneObject:
    """Return a bin, a cabinet or a cart, which are void in the evaluation."""
    label, half, height = pick(rng, (("static", 0.3, 1.0), ("static", 0.55, 1.3), ("dynamic", 0.5, 0.9)))
    outline = plane(rectangle(-half, 0.0, half, height))
    color = vary_color(rng, pick(rng, ((60, 84, 66), (120, 120, 116), (150, 90, 50))))
    lid = Part((40, 42, 44), (plane(rectangle(-half, height - 0.18, half, height)),))
    return SceneObject(label, outline, Material(color, "grain", 0.06), plane.depth, (lid,))


def make_ego_vehicle(rng: np.random.Generator) -> SceneObject:
    """Return the hood of the car that carries the camera."""
    top = rng.uniform(0.9, 0.95)
    x = np.linspace(-0.1, 2.1, 13)
    y = top + 0.05 * (x - 1.0) ** 2 * rng.uniform(0.6, 1.4)
    outline = np.concatenate([np.stack([x, y], axis=1), [(2.1, 1.1), (-0.1, 1.1)]])
    gloss = np.concatenate([np.stack([x, y], axis=1), np.stack([x, y + 0.012], axis=1)[::-1]])
    look = Material(vary_color(rng, (52, 56, 62)), "grain", 0.02, (1.25, 0.8))
    return SceneObject("ego vehicle", outline, look, 0.1, (Part((150, 154, 160), (gloss,)),))


def make_border(rng: np.random.Generator) -> list[SceneObject]:
    """Return the rectification border and the areas outside the region of interest."""
    tilt = rng.uniform(0.004, 0.016, 4)
    left = np.array([(-0.1, -0.1), (tilt[0], -0.1), (tilt[1], 1.1), (-0.1, 1.1)])
    right = np.array([(2.1, -0.1), (2 - tilt[2], -0.1), (2 - tilt[3], 1.1), (2.1, 1.1)])
    bottom = np.array([(-0.1, 1 - tilt[1]), (2.1, 1 - tilt[2]), (2.1, 1.1), (-0.1, 1.1)])
    black = Material((6, 6, 6), "grain", 0.0)
    frame = Material((20, 20, 22), "grain", 0.0)
    return [
        SceneObject("rectification border", bottom, black, 0.05),
        SceneObject("out of roi", left, frame, 0.05),
        SceneObject("out of roi", right, frame, 0.05),
    ]
