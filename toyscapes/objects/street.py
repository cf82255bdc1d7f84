"""The plan of a street, in meters: where road, sidewalks and facades run, and under which sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toyscapes.geometry import Camera
from toyscapes.presets import Preset
from toyscapes.sampling import chance, pick, pick_weighted
from toyscapes.scene import Color, Lighting

KINDS = {"residential": 0.35, "commercial": 0.3, "industrial": 0.2, "park": 0.15}
NEAREST = 1.4  # meters; closer than this nothing is built, it would be behind the picture
FARTHEST = 70.0
SIDES = (-1, 1)


@dataclass(frozen=True)
class Street:
    """One side's distances are given by index: 0 for left, 1 for right; all are positive meters from the camera."""

    kind: str
    camera: Camera
    kerb: tuple[float, float]  # road edge
    walk: tuple[float, float]  # outer edge of the sidewalk
    facade: tuple[float, float]  # building line; terrain or an apron lies before it
    junction: tuple[float, float] | None  # near and far depth of a crossing road
    junction_is_railway: bool
    sunny_side: int  # -1 or 1: the side whose facades are lit
    lighting: Lighting
    sky: Color
    ground: str  # label of the ground beyond the sidewalks
    apron: tuple[str, int] | None  # label and side of a paved area between sidewalk and facade

    def opening(self) -> tuple[float, float]:
        """The picture positions between which the near corners of the junction leave the view on it free."""
        if self.junction is None:
            raise ValueError("the street has no junction")
        camera, near = self.camera, self.junction[0]
        corners = camera.project(np.array([-self.facade[0], self.facade[1]]), 0.0, near)
        return max(0.0, float(corners[0, 0])), min(2.0, float(corners[1, 0]))


def sample_street(rng: np.random.Generator, preset: Preset) -> Street:
    """Draw a street."""
    kind = pick_weighted(rng, KINDS)
    camera = Camera(
        horizon=rng.uniform(0.37, 0.45),
        center=rng.uniform(0.8, 1.2),
        focal=rng.uniform(1.0, 1.2),
        height=rng.uniform(1.9, 2.6),
    )
    kerb = tuple(rng.uniform(3.2, 5.6, 2))
    walk = tuple(edge + rng.uniform(1.6, 3.2) for edge in kerb)
    apron = None
    if chance(rng, preset.ambiguous_ground):
        # The same gray either way; what stands around the street decides.
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
    if chance(rng, 0.65):
        near = rng.uniform(8.0, 15.0)
        junction = (near, near + rng.uniform(6.0, 9.0))
        railway = chance(rng, 0.2)
    sky, lighting = _sample_light(rng, preset)
    ground = "sidewalk" if kind == "commercial" else "terrain"
    sunny = pick(rng, SIDES)
    return Street(kind, camera, kerb, walk, facade, junction, railway, sunny, lighting, sky, ground, apron)


def _sample_light(rng: np.random.Generator, preset: Preset) -> tuple[Color, Lighting]:
    """Sky color and lighting: sunny, overcast or, where the preset is dark enough, dusk."""
    exposure = rng.uniform(*preset.exposure)
    if exposure < 0.82:
        sky, tint = (150.0, 152.0, 166.0), (1.04, 0.98, 0.96)
    elif chance(rng, 0.45):
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
