"""Rendering of a scene: surfaces with texture and parts, then shadow, haze, exposure, blur and noise.

The object of each pixel is taken from the drawn annotation (`draw_object_map`), so image and labels agree.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import name2label

from toyscapes.geometry import clip_to_frame
from toyscapes.labels import draw_object_map
from toyscapes.scene import SCENE_WIDTH, Lighting, Part, Scene, SceneObject, annotate, check_size, to_pixels

SHIFT = 4  # fractional bits of the coordinates that OpenCV draws
GROUND = frozenset(label.name for label in name2label.values() if label.category == "flat") | {"terrain", "ground"}
HAZE_DISTANCE = 40.0  # meters


def render_scene(scene: Scene, size: tuple[int, int]) -> tuple[np.ndarray, dict]:
    """Render a scene.

    Args:
        scene: what to render.
        size: (height, width), both at least 64.

    Returns:
        The image, (H, W, 3) uint8 RGB, and the annotation as the content of a polygons JSON.

    Raises:
        ValueError: an invalid size.
    """
    size = check_size(size)
    polygons = annotate(scene, size)
    return paint(scene, polygons, draw_object_map(polygons)), polygons


def paint(scene: Scene, polygons: dict, drawn: np.ndarray) -> np.ndarray:
    """Render a scene from its annotation and the `draw_object_map` (H, W) of that; returns (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(scene.texture_seed)
    size = drawn.shape
    color = np.zeros((*size, 3), np.uint8)
    light = np.ones(size, np.float32)
    for number, (obj, shape) in enumerate(zip(scene.objects, polygons["objects"], strict=True), start=1):
        _paint_object(obj, shape["polygon"], drawn, number, color, light, rng)
    on_ground = np.array([False, *(obj.label in GROUND for obj in scene.objects)])[drawn]
    light *= _cast_shadows(scene, on_ground)
    image = color * light[..., None]
    return _expose(image, _compute_haze(scene, drawn, on_ground), scene.lighting, rng)


def _paint_object(
    obj: SceneObject, polygon: list, drawn: np.ndarray, number: int, color: np.ndarray, light: np.ndarray,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Paint the visible pixels of one object into `color` (H, W, 3) and `light` (H, W)."""
    height, width = drawn.shape
    offset = rng.random(2)
    corners = np.array(polygon)
    x0, y0 = np.maximum(corners.min(axis=0), 0)
    x1, y1 = np.minimum(corners.max(axis=0) + 1, (width, height))
    if x0 >= x1 or y0 >= y1:
        return
    window = np.s_[y0:y1, x0:x1]
    mask = (drawn[window] == number).view(np.uint8)
    if not mask.any():
        return
    patch = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    patch[:] = np.round(obj.material.color)
    for part in obj.parts:
        _draw(part, patch, (x0, y0), (height, width))
    cv2.copyTo(patch, mask, color[window])

    tile = make_textures((height, width))[obj.material.texture]
    dy, dx = (offset * (np.array(tile.shape) - patch.shape[:2])).astype(int)
    top, bottom = obj.material.shade
    low, high = corners[:, 1].min(), corners[:, 1].max()
    position = (np.arange(y0, y1, dtype=np.float32) - low) / max(high - low, 1)
    shade = (top + (bottom - top) * position)[:, None]
    texture = tile[dy : dy + patch.shape[0], dx : dx + patch.shape[1]]
    cv2.copyTo((1 + obj.material.contrast * texture) * shade, mask, light[window])


def _draw(part: Part, patch: np.ndarray, origin: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw the antialiased polygons of a part on a patch whose upper left pixel is `origin`."""
    scale = 1 << SHIFT
    color = tuple(round(channel) for channel in part.color)
    for polygon in part.polygons:
        inside = clip_to_frame(polygon, SCENE_WIDTH)
        if len(inside):
            corners = np.round((to_pixels(inside, size) - origin) * scale).astype(np.int32)
            cv2.fillPoly(patch, [corners], color, cv2.LINE_AA, SHIFT)


def _cast_shadows(scene: Scene, on_ground: np.ndarray) -> np.ndarray:
    """Return (H, W) factors on the light, below one in shadows on the ground."""
    height, width = on_ground.shape
    dark = np.zeros((height, width), np.uint8)
    for shadow in scene.shadows:
        corners = np.round(to_pixels(shadow.polygon, (height, width)) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(dark, [corners], int(255 * shadow.strength), cv2.LINE_AA, SHIFT)
    soft = cv2.GaussianBlur(dark, (0, 0), height / 128).astype(np.float32) / 255
    return np.where(on_ground, 1 - soft, np.float32(1))


def _compute_haze(scene: Scene, drawn: np.ndarray, on_ground: np.ndarray) -> np.ndarray:
    """Return the (H, W) share of haze by distance; zero for the sky."""
    height = drawn.shape[0]
    depth = np.array([1e3, *(0.0 if obj.label == "sky" else obj.depth for obj in scene.objects)], np.float32)[drawn]
    below = np.maximum((np.arange(height, dtype=np.float32) + 0.5) / height, scene.camera.horizon + 1e-3)
    depth = np.where(on_ground, scene.camera.depth_at(below).astype(np.float32)[:, None], depth)
    return scene.lighting.haze * (1 - np.exp(-depth / HAZE_DISTANCE))


def _expose(image: np.ndarray, haze: np.ndarray, lighting: Lighting, rng: np.random.Generator) -> np.ndarray:
    """Apply haze, exposure, blur and noise to a float (H, W, 3) image; returns uint8."""
    haze = haze[..., None]
    image = image * (1 - haze) + haze * np.array(lighting.haze_color, np.float32)
    image *= lighting.exposure * np.array(lighting.tint, np.float32)
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), lighting.blur)
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(lighting.noise)
    return np.clip(np.round(image + grain), 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def make_textures(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return textures by name for images of (height, width): float32 fields 1.5 times as large, mean 0, std 1.

    They are drawn at one resolution and resized, so that the grain scales with the image.
    """
    rng = np.random.default_rng(0)
    height, width = 768, 1536

    def spots(sigma: int, stretch: float = 1.0) -> np.ndarray:
        """Return smooth noise with spots of a size; large spots are drawn at low resolution and enlarged."""
        shrink = max(sigma // 3, 1)
        noise = rng.standard_normal((height // shrink, width // shrink), np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma / shrink, sigmaY=sigma / shrink * stretch)
        return cv2.resize(smooth / smooth.std(), (width, height), interpolation=cv2.INTER_CUBIC)

    fields = {
        "grain": spots(2),
        "mottle": spots(3) + spots(14),
        "leaf": spots(4) + spots(12),
        "grass": spots(3, stretch=2.3),
        "cloud": spots(60) + spots(30) + spots(12),
    }
    tiles = {}
    for name, field in fields.items():
        tile = cv2.resize(field, (size[1] * 3 // 2, size[0] * 3 // 2), interpolation=cv2.INTER_AREA)
        tiles[name] = np.clip((tile - tile.mean()) / tile.std(), -2.5, 2.5).astype(np.float32)
    return tiles
