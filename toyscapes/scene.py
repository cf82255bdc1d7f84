"""What a scene is: labeled polygons from far to near, each with the attributes it is painted with.

Coordinates are size independent: y runs from 0 (top) to 1 (bottom) and x from 0 (left) to 2 (right), so a picture
that is twice as wide as high is not distorted. Other aspect ratios stretch the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toyscapes.geometry import Camera, clip_to_frame

SCENE_WIDTH = 2.0
MIN_SIDE = 64
# Fine enough for pictures 8,000 pixels high; coarse enough to swallow the last-bit differences between maths libraries.
GRID = 2.0**14

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """Something painted on an object without a label of its own: windows, wheels, lane markings.

    `polygons` holds (n, 2) arrays, or is one (m, n, 2) array of them: in meters on a plane of the object or, once
    mapped, in scene coordinates.
    """

    color: Color
    polygons: np.ndarray | Sequence[np.ndarray]

    def mapped(self, transform: Callable[[np.ndarray], np.ndarray]) -> Part:
        """The same part with every polygon sent through `transform`."""
        if isinstance(self.polygons, np.ndarray):
            return replace(self, polygons=transform(self.polygons))
        return replace(self, polygons=tuple(transform(polygon) for polygon in self.polygons))


@dataclass(frozen=True)
class Material:
    """How a surface looks: RGB `color` in 0..255, a named texture, and the brightness at its top and bottom."""

    color: Color
    texture: str = "grain"
    contrast: float = 0.05
    shade: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class SceneObject:
    """One annotated polygon. `depth` is its distance in meters, by which objects are ordered and hazed."""

    label: str
    polygon: np.ndarray
    material: Material
    depth: float
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Shadow:
    """A dark patch that falls on the ground (and on nothing else); `strength` in 0..1."""

    polygon: np.ndarray
    strength: float


@dataclass(frozen=True)
class Lighting:
    """Conditions of the whole picture: exposure and tint are factors; blur, noise and haze are amounts."""

    exposure: float
    tint: Color
    haze: float
    haze_color: Color
    blur: float
    noise: float


@dataclass(frozen=True)
class Scene:
    """Everything that a picture and its annotation are made from, at any size."""

    name: str
    camera: Camera
    objects: tuple[SceneObject, ...]
    shadows: tuple[Shadow, ...]
    lighting: Lighting
    texture_seed: int


def settled(obj: SceneObject) -> SceneObject | None:
    """The object cut to the neighborhood of the frame and snapped to the coordinate grid; None if out of sight."""
    polygon = np.round(clip_to_frame(obj.polygon, SCENE_WIDTH) * GRID) / GRID
    if len(polygon) < 3 or polygon.max(axis=0).min() <= 0 or polygon[:, 0].min() >= 2 or polygon[:, 1].min() >= 1:
        return None
    return replace(obj, polygon=polygon)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Validate a picture size (height, width). Raises ValueError unless both are integers of at least 64."""
    if len(size) != 2 or any(int(side) != side or side < MIN_SIDE for side in size):
        raise ValueError(
            f"size must be (height, width), two integers of at least {MIN_SIDE}, got {size}; "
            "any aspect ratio works, twice as wide as high is free of distortion"
        )
    return int(size[0]), int(size[1])


def to_pixels(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scene coordinates (..., 2) -> continuous pixel coordinates (x, y), whole numbers being pixel centers."""
    height, width = size
    return polygon * np.array([width / SCENE_WIDTH, height]) - 0.5


def annotation(scene: Scene, size: tuple[int, int]) -> dict:
    """The scene as the content of a Cityscapes polygons JSON for a picture of `size` (height, width).

    Returns {"imgHeight", "imgWidth", "objects": [{"label", "polygon": [[x, y], ...]}]} with integer pixel
    coordinates, far to near; like in Cityscapes, polygons may reach a little beyond the border.
    """
    height, width = check_size(size)
    objects = []
    for obj in scene.objects:
        corners = np.floor(to_pixels(obj.polygon, (height, width)) + 0.5).astype(int)
        distinct = np.any(corners != np.roll(corners, 1, axis=0), axis=1)
        # What is below a pixel is drawn as a line or a dot, which takes three corners all the same.
        kept = corners[distinct] if distinct.sum() >= 3 else corners[:3]
        objects.append({"label": obj.label, "polygon": kept.tolist()})
    return {"imgHeight": height, "imgWidth": width, "objects": objects}
