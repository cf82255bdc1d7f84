"""Bicycles and motorcycles, parked or with a rider."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Camera, Plane, add_holes, disc, rectangle
from toyscapes.presets import Preset
from toyscapes.sampling import pick, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

BICYCLE_PAINTS: tuple[Color, ...] = ((40, 44, 50), (150, 40, 44), (46, 80, 130), (180, 182, 186))
MOTORCYCLE_PAINTS: tuple[Color, ...] = ((44, 46, 52), (170, 36, 36), (36, 60, 120), (96, 100, 106))
FACING = {"right": 1.0, "left": -1.0}
TAIL: Color = (205, 30, 30)


def make_bicycle(
    rng: np.random.Generator, preset: Preset, camera: Camera, across: float, depth: float, view: str
) -> list[SceneObject]:
    """Return a bicycle seen from the side (`view` "left" or "right") or along the street ("rear" or "front")."""
    paint = vary_color(rng, pick(rng, BICYCLE_PAINTS) if preset.shared_looks else (150, 30, 200))
    material = Material(paint, "grain", 0.05)
    if view not in FACING:
        plane = Plane(camera, across, depth)
        outline = np.array([(-0.06, 0.0), (-0.06, 0.62), (-0.12, 0.9), (-0.3, 0.98), (-0.3, 1.06), (0.3, 1.06),
                            (0.3, 0.98), (0.12, 0.9), (0.06, 0.62), (0.06, 0.0)])  # fmt: skip
        tire = Part((30, 30, 32), (rectangle(-0.06, 0.0, 0.06, 0.64),))
        return [SceneObject("bicycle", plane(outline), material, depth, (tire.mapped(plane),))]

    plane = Plane(camera, across - FACING[view] * 0.9, depth, (FACING[view], 0.0))
    rear, front, radius = 0.37, 1.43, 0.36
    upper = np.linspace(np.pi * 0.75, -np.pi / 2, 12)
    lower = np.linspace(-np.pi / 2, -np.pi * 1.25, 12)

    def arc(center: float, angles: np.ndarray) -> np.ndarray:
        return np.stack([center + radius * np.cos(angles), radius + radius * np.sin(angles)], axis=1)

    # Clockwise: front wheel, below the frame, rear wheel, saddle and handlebar.
    frame_below = np.array([(0.95, 0.22), (0.82, 0.22)])
    top = np.array([(0.5, 0.8), (0.42, 0.98), (0.7, 1.0), (0.68, 0.84), (1.18, 0.88), (1.1, 1.06), (1.34, 1.06),
                    (1.28, 0.9)])  # fmt: skip
    wheel_front = np.concatenate([arc(front, upper[:-1]), arc(front, lower[:5])])
    wheel_rear = np.concatenate([arc(rear, upper[7:-1]), arc(rear, lower)])
    outline = np.concatenate([wheel_front, frame_below, wheel_rear, top])
    parts = [Part((30, 30, 32), np.stack([disc(rear, radius, radius), disc(front, radius, radius)]))]
    if preset.open_structures:
        triangle = np.array([(0.72, 0.74), (1.12, 0.76), (0.9, 0.4)])
        outline = add_holes(outline, [*_between_spokes(front, radius), *_between_spokes(rear, radius), triangle])
    else:
        rims = np.stack([disc(rear, radius, radius * 0.68), disc(front, radius, radius * 0.68)])
        parts.append(Part((150, 152, 158), rims))
    parts.append(Part((24, 24, 26), (rectangle(0.4, 0.94, 0.72, 1.02),)))
    return [SceneObject("bicycle", plane(outline), material, depth, tuple(part.mapped(plane) for part in parts))]


def _between_spokes(center: float, radius: float, spokes: int = 5) -> list[np.ndarray]:
    """Return the openings of a wheel: the sectors between rim and spokes."""
    outer, inner, gap = radius * 0.86, radius * 0.2, 0.1
    pitch = 2 * np.pi / spokes
    sectors = []
    for k in range(spokes):
        angles = np.linspace(k * pitch + gap, (k + 1) * pitch - gap, 5)
        rim = np.stack([center + outer * np.cos(angles), radius + outer * np.sin(angles)], axis=1)
        middle = (k + 0.5) * pitch
        hub = np.array([[center + inner * np.cos(middle), radius + inner * np.sin(middle)]])
        sectors.append(np.concatenate([rim, hub]))
    return sectors


def make_motorcycle(
    rng: np.random.Generator, preset: Preset, camera: Camera, across: float, depth: float, view: str
) -> list[SceneObject]:
    """Return a motorcycle seen from the side (`view` "left" or "right") or along the street ("rear" or "front")."""
    paint = vary_color(rng, pick(rng, MOTORCYCLE_PAINTS) if preset.shared_looks else (30, 60, 220))
    material = Material(paint, "grain", 0.04, (1.15, 0.75))
    if view not in FACING:
        plane = Plane(camera, across, depth)
        outline = np.array([(-0.14, 0.0), (-0.16, 0.3), (-0.34, 0.45), (-0.3, 0.85), (-0.42, 1.0), (-0.42, 1.1),
                            (-0.16, 1.05), (0.16, 1.05), (0.42, 1.1), (0.42, 1.0), (0.3, 0.85), (0.34, 0.45),
                            (0.16, 0.3), (0.14, 0.0)])  # fmt: skip
        lamp = Part(TAIL if view == "rear" else (250, 246, 220), (rectangle(-0.1, 0.72, 0.1, 0.86),))
        tire = Part((26, 26, 28), (rectangle(-0.14, 0.0, 0.14, 0.5),))
        return [SceneObject("motorcycle", plane(outline), material, depth, (tire.mapped(plane), lamp.mapped(plane)))]

    plane = Plane(camera, across - FACING[view] * 1.05, depth, (FACING[view], 0.0))
    outline = np.array(
        [(0.35, 0.0), (0.12, 0.1), (0.02, 0.33), (0.1, 0.56), (0.2, 0.74), (0.05, 0.86), (0.75, 0.84), (0.95, 1.0),
         (1.3, 0.98), (1.28, 1.14), (1.48, 1.2), (1.52, 0.98), (1.62, 0.72), (1.92, 0.6), (2.06, 0.4), (2.04, 0.2),
         (1.9, 0.04), (1.75, 0.0), (1.58, 0.06), (1.44, 0.22), (1.3, 0.2), (0.72, 0.2), (0.62, 0.12), (0.52, 0.04)]
    )  # fmt: skip
    tires = np.stack([disc(0.36, 0.33, 0.33), disc(1.74, 0.33, 0.33)])
    rims = np.stack([disc(0.36, 0.33, 0.17), disc(1.74, 0.33, 0.17)])
    engine = np.array([(0.7, 0.24), (0.75, 0.6), (1.3, 0.62), (1.34, 0.26)])
    seat = np.array([(0.05, 0.76), (0.05, 0.88), (0.78, 0.88), (0.9, 0.76)])
    parts = (
        Part((26, 26, 28), tires),
        Part((130, 132, 138), rims),
        Part((84, 84, 88), (engine,)),
        Part((22, 22, 24), (seat,)),
        Part((250, 246, 220), (disc(1.5, 0.98, 0.09),)),
    )
    return [SceneObject("motorcycle", plane(outline), material, depth, tuple(part.mapped(plane) for part in parts))]
