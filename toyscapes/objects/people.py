"""Persons and riders. A rider and the machine are two objects, as in Cityscapes."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Camera, Plane, disc, rectangle
from toyscapes.objects.two_wheelers import FACING, make_bicycle, make_motorcycle
from toyscapes.presets import Preset
from toyscapes.sampling import occurs, pick, scale_color, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

SKIN: tuple[Color, ...] = ((224, 178, 148), (188, 136, 102), (120, 82, 60))
HAIR: tuple[Color, ...] = ((40, 30, 24), (96, 66, 38), (170, 140, 90), (60, 58, 60))
CLOTHES: tuple[Color, ...] = (
    (60, 62, 70), (140, 40, 44), (46, 70, 120), (90, 110, 84), (190, 186, 176), (110, 86, 64), (196, 150, 60),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = ((40, 44, 58), (70, 66, 60), (30, 30, 32), (96, 96, 104))
HELMETS: tuple[Color, ...] = ((236, 236, 232), (214, 40, 36), (40, 110, 200), (30, 30, 34))
DISTINCT_PERSON: tuple[Color, ...] = ((216, 70, 120), (236, 110, 90), (200, 60, 160))
DISTINCT_RIDER: tuple[Color, ...] = ((240, 236, 60), (190, 240, 60))


def _draw_clothes(rng: np.random.Generator, preset: Preset, rider: bool) -> Material:
    distinct = DISTINCT_RIDER if rider else DISTINCT_PERSON
    return Material(
        vary_color(rng, pick(rng, CLOTHES if preset.shared_looks else distinct)), "grain", 0.06, (1.08, 0.9)
    )


def _make_head(rng: np.random.Generator, u: float, v: float, helmet: bool) -> tuple[Part, ...]:
    """Return a head around (u, v) with hair or, for riders, a helmet."""
    cap = disc(u, v + 0.03, 0.15)
    cap = cap[cap[:, 1] > v]
    return (
        Part(vary_color(rng, pick(rng, SKIN)), (disc(u, v - 0.01, 0.13),)),
        Part(vary_color(rng, pick(rng, HELMETS if helmet else HAIR)), (cap,)),
    )


def make_person(
    rng: np.random.Generator, preset: Preset, camera: Camera, across: float, depth: float
) -> list[SceneObject]:
    """Return a standing or walking person, in 12 % of the cases a child."""
    size = rng.uniform(0.62, 0.8) if occurs(rng, 0.12) else rng.uniform(0.93, 1.08)
    left, right = rng.uniform(0.0, 0.22, 2)
    arm = rng.uniform(0.0, 0.12)
    outline = np.array(
        [(-0.05, 1.46), (-0.11, 1.54), (-0.12, 1.67), (-0.05, 1.76), (0.05, 1.76), (0.12, 1.67), (0.11, 1.54),
         (0.05, 1.46), (0.22, 1.4), (0.29 + arm, 1.08), (0.28 + arm, 0.8), (0.2 + arm, 0.8), (0.18, 1.1), (0.18, 0.88),
         (0.16 + right, 0.06), (0.2 + right, 0.0), (0.05 + right, 0.0), (0.01, 0.72), (-0.05 - left, 0.0),
         (-0.2 - left, 0.0), (-0.16 - left, 0.06), (-0.18, 0.88), (-0.18, 1.1), (-0.2 - arm, 0.8), (-0.28 - arm, 0.8),
         (-0.29 - arm, 1.08), (-0.22, 1.4)]
    )  # fmt: skip
    legs = Part(vary_color(rng, pick(rng, TROUSERS)), (rectangle(-0.6, 0.0, 0.6, 0.88),))
    hands = Part(vary_color(rng, pick(rng, SKIN)), (rectangle(-0.5, 0.8, -0.19, 0.86), rectangle(0.19, 0.8, 0.5, 0.86)))
    body = Plane(camera, across, depth)
    parts = tuple(
        Part(part.color, tuple(np.asarray(polygon) * size for polygon in part.polygons)).mapped(body)
        for part in (legs, hands, *_make_head(rng, 0.0, 1.62, helmet=False))
    )
    return [SceneObject("person", body(outline * size), _draw_clothes(rng, preset, rider=False), depth, parts)]


def make_rider(
    rng: np.random.Generator, preset: Preset, camera: Camera, across: float, depth: float, view: str, machine: str
) -> list[SceneObject]:
    """Return a rider and the `machine`, a "bicycle" or a "motorcycle"."""
    build = make_bicycle if machine == "bicycle" else make_motorcycle
    objects = build(rng, preset, camera, across, depth, view)
    material = _draw_clothes(rng, preset, rider=True)
    trousers = vary_color(rng, pick(rng, TROUSERS))
    if view in FACING:
        length = 1.8 if machine == "bicycle" else 2.1
        plane = Plane(camera, across - FACING[view] * length / 2, depth, (FACING[view], 0.0))
        outline = np.array(
            [(0.42, 0.98), (0.44, 1.2), (0.62, 1.5), (0.78, 1.6), (0.76, 1.8), (0.88, 1.9), (1.0, 1.86), (1.04, 1.72),
             (0.98, 1.62), (0.9, 1.58), (0.94, 1.46), (1.26, 1.16), (1.2, 1.06), (0.86, 1.24), (0.78, 1.08),
             (1.04, 0.92), (1.1, 0.82), (0.98, 0.3), (1.06, 0.24), (0.84, 0.24), (0.84, 0.34), (0.9, 0.74), (0.7, 0.9),
             (0.5, 0.92)]
        )  # fmt: skip
        head = (0.9, 1.74)
        legs = np.array([(0.4, 0.9), (0.42, 1.04), (0.78, 1.08), (1.14, 0.9), (1.14, 0.2), (0.8, 0.2), (0.7, 0.85)])
    else:
        plane = Plane(camera, across, depth)
        outline = np.array(
            [(-0.05, 1.56), (-0.12, 1.64), (-0.13, 1.8), (-0.05, 1.9), (0.05, 1.9), (0.13, 1.8), (0.12, 1.64),
             (0.05, 1.56), (0.22, 1.5), (0.36, 1.14), (0.28, 1.04), (0.19, 1.2), (0.2, 0.95), (0.28, 0.5), (0.2, 0.24),
             (0.1, 0.24), (0.13, 0.5), (0.06, 0.86), (-0.06, 0.86), (-0.13, 0.5), (-0.1, 0.24), (-0.2, 0.24),
             (-0.28, 0.5), (-0.2, 0.95), (-0.19, 1.2), (-0.28, 1.04), (-0.36, 1.14), (-0.22, 1.5)]
        )  # fmt: skip
        head = (0.0, 1.75)
        legs = rectangle(-0.3, 0.2, 0.3, 0.98)
    parts = (Part(trousers, (legs,)), *_make_head(rng, *head, helmet=True))
    if not preset.shared_looks:
        vest = Part(scale_color(material.color, 0.55), (rectangle(-2.0, 1.22, 2.0, 1.3),))
        parts = (vest, *parts)
    parts = tuple(part.mapped(plane) for part in parts)
    # The machine is annotated first: the rider's legs are in front of it.
    return [*objects, SceneObject("rider", plane(outline), material, depth - 0.01, parts)]
