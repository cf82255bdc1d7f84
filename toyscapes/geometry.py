"""Perspective and plain shapes: everything here is coordinates, nothing knows about labels or colors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What sticks out farther than this beyond the frame is cut off.
MARGIN = 0.1

Metres = float | np.ndarray


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera over flat ground; meters in, scene coordinates out.

    `horizon` is the y of the horizon, `center` the x of the vanishing point, `focal` the focal length in picture
    heights, `height` that of the camera over the ground in meters.
    """

    horizon: float
    center: float
    focal: float
    height: float

    def project(self, across: Metres, up: Metres, depth: Metres) -> np.ndarray:
        """Points (across, up, depth), broadcast together -> (..., 2) scene coordinates."""
        scale = self.focal / np.asarray(depth, dtype=float)
        x, y = self.center + across * scale, self.horizon + (self.height - up) * scale
        return np.stack(np.broadcast_arrays(x, y), axis=-1)

    def across_at(self, x: float, depth: float) -> float:
        """The lateral position in meters that is seen at picture position `x` at that depth."""
        return (x - self.center) * depth / self.focal

    def depth_at(self, y: np.ndarray) -> np.ndarray:
        """Depth in meters of the ground seen at picture height `y`, which must lie below the horizon."""
        return self.focal * self.height / (y - self.horizon)


@dataclass(frozen=True)
class Plane:
    """A vertical plane in front of a camera, to draw on in meters: u along it, v up from the ground."""

    camera: Camera
    across: float
    depth: float
    direction: tuple[float, float] = (1.0, 0.0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points (u, v) in meters -> (..., 2) scene coordinates."""
        points = np.asarray(points, dtype=float)
        along, up = points[..., 0], points[..., 1]
        return self.camera.project(self.across + along * self.direction[0], up, self.depth + along * self.direction[1])


@dataclass(frozen=True)
class Ground:
    """The ground plane, to draw on in meters: u across, v in depth."""

    camera: Camera

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points (across, depth) in meters -> (..., 2) scene coordinates."""
        points = np.asarray(points, dtype=float)
        return self.camera.project(points[..., 0], 0.0, points[..., 1])


def rectangle(u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
    """(4, 2) corners."""
    return np.array([[u0, v0], [u0, v1], [u1, v1], [u1, v0]], dtype=float)


def rectangles(left: np.ndarray, bottom: np.ndarray, width: float, height: float) -> np.ndarray:
    """A grid of equal rectangles, one per pair of `left` and `bottom`: (len(left) * len(bottom), 4, 2)."""
    u, v = (grid.ravel() for grid in np.meshgrid(left, bottom))
    corners = [[u, v], [u, v + height], [u + width, v + height], [u + width, v]]
    return np.array(corners).transpose(2, 0, 1)


def disc(u: float, v: float, radius: float, corners: int = 14) -> np.ndarray:
    """A circle as a (corners, 2) polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([u + radius * np.cos(angles), v + radius * np.sin(angles)], axis=1)


def blob(rng: np.random.Generator, u: float, v: float, width: float, height: float, corners: int = 18) -> np.ndarray:
    """A ragged ellipse of about that full width and height as a (corners, 2) polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    radius = rng.uniform(0.82, 1.12, corners)
    return np.stack([u + width / 2 * radius * np.cos(angles), v + height / 2 * radius * np.sin(angles)], axis=1)


def comb(length: float, height: float, spacing: float, bar: float, rail: float) -> np.ndarray:
    """A railing as one polygon: a rail on top and bars that hang down to the ground, open between them."""
    starts = np.arange(0.0, length - bar, spacing)[::-1]
    under = height - rail
    teeth = [[[s + bar, under], [s + bar, 0.0], [s, 0.0], [s, under]] for s in starts]
    top = np.array([[0.0, height], [length, height], [length, under]])
    return np.concatenate([top, np.array(teeth).reshape(-1, 2)])


def with_holes(outline: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One polygon that leaves the holes open under the even-odd rule: a walk to each hole, round it and back.

    The walks have no area, yet rasterisers draw them as lines of one pixel.
    """
    home = outline[:1]
    pieces = [outline, home]
    for hole in holes:
        start = int(np.argmin(np.abs(hole - home).sum(axis=1)))
        turned = np.roll(hole, -start, axis=0)
        pieces += [turned, turned[:1], home]
    return np.concatenate(pieces)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of (n, 2) points, in order (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, np.asarray(points, dtype=float).reshape(-1, 2).tolist()))

    def chain(sequence: list[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for x, y in sequence:
            while len(hull) >= 2:
                (ax, ay), (bx, by) = hull[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                hull.pop()
            hull.append((x, y))
        return hull[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def skyline(polygons: list[np.ndarray], samples: int = 48) -> np.ndarray:
    """One outline around overlapping polygons, by their upper and lower envelopes over x: (2 * samples, 2)."""
    low = min(polygon[:, 0].min() for polygon in polygons)
    high = max(polygon[:, 0].max() for polygon in polygons)
    xs = np.linspace(low, high, samples)
    tops, bottoms = np.full(samples, np.inf), np.full(samples, -np.inf)
    for polygon in polygons:
        inside = (xs >= polygon[:, 0].min()) & (xs <= polygon[:, 0].max())
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            crossed = inside & (xs >= min(x0, x1)) & (xs <= max(x0, x1))
            if x0 == x1 or not crossed.any():
                continue
            y = y0 + (xs[crossed] - x0) * (y1 - y0) / (x1 - x0)
            tops[crossed] = np.minimum(tops[crossed], y)
            bottoms[crossed] = np.maximum(bottoms[crossed], y)
    seen = np.isfinite(tops)
    upper = np.stack([xs[seen], tops[seen]], axis=1)
    lower = np.stack([xs[seen], bottoms[seen]], axis=1)
    return np.concatenate([upper, lower[::-1]])


def clip_to_frame(polygon: np.ndarray, width: float) -> np.ndarray:
    """Cut a polygon to the frame plus a margin (Sutherland-Hodgman), so that seams stay out of sight."""
    for axis, bound, sign in ((0, -MARGIN, 1), (0, width + MARGIN, -1), (1, -MARGIN, 1), (1, 1 + MARGIN, -1)):
        if len(polygon) == 0:
            break
        distance = sign * (polygon[:, axis] - bound)
        if distance.min() >= 0:
            continue
        kept = []
        for i in range(len(polygon)):
            before, after = distance[i - 1], distance[i]
            if (before < 0) != (after < 0):
                kept.append(polygon[i - 1] + (polygon[i] - polygon[i - 1]) * (before / (before - after)))
            if after >= 0:
                kept.append(polygon[i])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon
