"""The layout of a street in meters, its camera and its lighting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toyscapes.geometry import Camera
from toyscapes.presets import Preset
from toyscapes.sampling import occurs, pick, pick_weighted
from toyscapes.scene import Color, Lighting

KINDS = {"residential": 0.35, "commercial": 0.3, "industrial": 0.2, "park": 0.15}
NEAREST = 1.4  # meters; closer objects would be outside the image
FARTHEST = 70.0
SIDES = (-1, 1)


@dataclass(frozen=True)
class Street:
    """The layout of a street. Pairs are distances of the left and right side from the camera, in positive meters."""

    kind: str
    camera: Camera
    curb: tuple[float, float]  # road edge
    walk: tuple[float, float]  # outer edge of the sidewalk
    facade: tuple[float, float]  # building line; terrain or an apron is in front of it
    junction: tuple[float, float] | None  # near and far depth of a crossing road
    junction_is_railway: bool
    sunny_side: int  # -1 or 1: the side whose facades are brighter
    lighting: Lighting
    sky: Color
    ground: str  # label of the ground beyond the sidewalks
    apron: tuple[str, int] | None  # label and side of a paved area between sidewalk and facade

    def opening(self) -> tuple[float, float]:
        """Return the interval of x in which the junction is visible between its near corners.

        Raises:
            ValueError: a street without a junction.
        """
        if self.junction is None:
            raise ValueError("the street has no junction")
        camera, near = self.camera, self.junction[0]
        corners = camera.project(np.array([-self.facade[0], self.facade[1]]), 0.0, near)
        return max(0.0, float(corners[0, 0])), min(2.0, float(corners[1, 0]))


def sample_street(rng: np.random.Generator, preset: Preset) -> Street:
    """Draw the layout of a street."""
    kind = pick_weighted(rng, KINDS)
    camera = Camera(
        horizon=rng.uniform(0.37, 0.45),
        center=rng.uniform(0.8, 1.2),
        focal=rng.uniform(1.0, 1.2),
        height=rng.uniform(1.9, 2.6),
    )
    curb = tuple(rng.uniform(3.2, 5.6, 2))
    walk = tuple(edge + rng.uniform(1.6, 3.2) for edge in curb)
    apron = None
    if occurs(rng, preset.ambiguous_ground):
        # The material is the same for both labels; the kind of street decides which it is.
        label = {"commercial": "sidewalk", "residential": "sidewalk"}.get(kind, "road")
        apron = (label, pick(rng, SIDES))
    verge = [rng.uniform(1.2, 3.5) if kind != "commercial" else rng.uniform(0.0, 0.4) for _ in SIDES]
    if kind == "park":
        verge = [width + rng.uniform(2.0, 6.0) for width in verge]
    if apron:
        verge[SIDES.index(apron[1])] = rng.uniform(3.5, 6.0)
    facade = tuple(edge + width for edge, width in zip(walk, verge, strict=True))
    junction = None
    railway = False
    if occurs(rng, 0.65):
        near = rng.uniform(8.0, 15.0)
        junction = (near, near + rng.uniform(6.0, 9.0))
        railway = occurs(rng, 0.2)
    sky, lighting = _sample_light(rng, preset)
    ground = "sidewalk" if kind == "commercial" else "terrain"
    sunny = pick(rng, SIDES)
    return Street(kind, camera, curb, walk, facade, junction, railway, sunny, lighting, sky, ground, apron)


def _sample_light(rng: np.random.Generator, preset: Preset) -> tuple[Color, Lighting]:
    """Draw the sky color and the lighting: sunny, overcast or, at a low exposure, dusk."""
    exposure = rng.uniform(*preset.exposure)
    if exposure < 0.82:
        sky, tint = (150.0, 152.0, 166.0), (1.04, 0.98, 0.96)
    elif occurs(rng, 0.45):
        sky, tint = (206.0, 210.0, 214.0), (0.98, 1.0, 1.02)
    else:
        sky, tint = (136.0, 178.0, 226.0), (1.03, 1.0, 0.95)
    lighting = Lighting(
        exposure=exposure,
        tint=tint,
        haze=rng.uniform(*preset.haze),
        haze_color=sky,
        blur=rng.uniform(*preset.blur),
        noise=rng.uniform(*preset.noise),
    )
    return sky, lighting
