"""A scene: labeled polygons from far to near, with the attributes that they are painted with.

Scene coordinates do not depend on the image size: y is in [0, 1] from top to bottom, x in [0, 2] from left to right. An
image that is twice as wide as high is not distorted; other aspect ratios stretch the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toyscapes.geometry import Camera, clip_to_frame

SCENE_WIDTH = 2.0
MIN_SIDE = 64
# Coordinates are rounded to 1 / GRID: fine enough for images 8,000 pixels high, coarse enough to remove the last-bit
# differences between math libraries.
GRID = 2.0**14

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A part of an object that has no label: windows, wheels, lane markings.

    Attributes:
        color: RGB in [0, 255].
        polygons: (n, 2) arrays, or one (m, n, 2) array; in meters on a plane of the object, after `mapped` in scene
            coordinates.
    """

    color: Color
    polygons: np.ndarray | Sequence[np.ndarray]

    def mapped(self, transform: Callable[[np.ndarray], np.ndarray]) -> Part:
        """Return the part with `transform` applied to every polygon."""
        if isinstance(self.polygons, np.ndarray):
            return replace(self, polygons=transform(self.polygons))
        return replace(self, polygons=tuple(transform(polygon) for polygon in self.polygons))


@dataclass(frozen=True)
class Material:
    """Appearance of a surface: RGB color in [0, 255], texture name and contrast, brightness at top and bottom."""

    color: Color
    texture: str = "grain"
    contrast: float = 0.05
    shade: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class SceneObject:
    """One annotated polygon. `depth`, its distance in meters, sets the drawing order and the amount of haze."""

    label: str
    polygon: np.ndarray
    material: Material
    depth: float
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Shadow:
    """A shadow on the ground, which does not darken objects; `strength` in [0, 1]."""

    polygon: np.ndarray
    strength: float


@dataclass(frozen=True)
class Lighting:
    """Lighting of an image: exposure and tint are factors, haze is in [0, 1], blur and noise are deviations."""

    exposure: float
    tint: Color
    haze: float
    haze_color: Color
    blur: float
    noise: float


@dataclass(frozen=True)
class Scene:
    """A scene, from which an image and its annotation are made at any size."""

    name: str
    camera: Camera
    objects: tuple[SceneObject, ...]
    shadows: tuple[Shadow, ...]
    lighting: Lighting
    texture_seed: int


def clip_object(obj: SceneObject) -> SceneObject | None:
    """Return the object cut to the frame plus a margin and rounded to the grid; None if it is outside the image."""
    polygon = np.round(clip_to_frame(obj.polygon, SCENE_WIDTH) * GRID) / GRID
    if len(polygon) < 3 or polygon.max(axis=0).min() <= 0 or polygon[:, 0].min() >= 2 or polygon[:, 1].min() >= 1:
        return None
    return replace(obj, polygon=polygon)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a valid image size (height, width) as integers.

    Raises:
        ValueError: not two integers of at least 64.
    """
    if len(size) != 2 or any(int(side) != side or side < MIN_SIDE for side in size):
        raise ValueError(
            f"size must be (height, width), two integers of at least {MIN_SIDE}, got {size}; "
            "images twice as wide as high are not distorted"
        )
    return int(size[0]), int(size[1])


def to_pixels(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert (..., 2) scene coordinates to pixel coordinates (x, y); integers are pixel centers."""
    height, width = size
    return polygon * np.array([width / SCENE_WIDTH, height]) - 0.5


def annotate(scene: Scene, size: tuple[int, int]) -> dict:
    """Return the scene as the content of a Cityscapes polygons JSON.

    Args:
        scene: what to convert.
        size: (height, width) of the image.

    Returns:
        {"imgHeight", "imgWidth", "objects": [{"label", "polygon": [[x, y], ...]}]} with integer pixel coordinates, from
        far to near. As in Cityscapes, polygons may extend a little beyond the border.
    """
    height, width = check_size(size)
    objects = []
    for obj in scene.objects:
        corners = np.floor(to_pixels(obj.polygon, (height, width)) + 0.5).astype(int)
        distinct = np.any(corners != np.roll(corners, 1, axis=0), axis=1)
        # A polygon smaller than a pixel is drawn as a line or a dot, which needs three corners too.
        kept = corners[distinct] if distinct.sum() >= 3 else corners[:3]
        objects.append({"label": obj.label, "polygon": kept.tolist()})
    return {"imgHeight": height, "imgWidth": width, "objects": objects}
