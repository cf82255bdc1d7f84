"""The camera, the planes to draw on, and functions on polygons, all (n, 2) float arrays of coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Polygons are cut off at this distance outside the frame, in scene coordinates.
MARGIN = 0.1

Meters = float | np.ndarray


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera over flat ground. It projects meters to scene coordinates.

    Attributes:
        horizon: y of the horizon, in scene coordinates.
        center: x of the vanishing point, in scene coordinates.
        focal: focal length in image heights.
        height: height of the camera over the ground, in meters.
    """

    horizon: float
    center: float
    focal: float
    height: float

    def project(self, across: Meters, up: Meters, depth: Meters) -> np.ndarray:
        """Project points (across, up, depth) in meters, broadcast together, to (..., 2) scene coordinates."""
        scale = self.focal / np.asarray(depth, dtype=float)
        x, y = self.center + across * scale, self.horizon + (self.height - up) * scale
        # As np.stack of broadcast arrays, in a fifth of the time.
        points = np.empty((*np.broadcast(x, y).shape, 2))
        points[..., 0], points[..., 1] = x, y
        return points

    def across_at(self, x: float, depth: float) -> float:
        """Return the lateral position in meters that is seen at `x` at a depth in meters."""
        return (x - self.center) * depth / self.focal

    def depth_at(self, y: np.ndarray) -> np.ndarray:
        """Return the depth in meters of the ground seen at `y`, which must be below the horizon."""
        return self.focal * self.height / (y - self.horizon)


@dataclass(frozen=True)
class Plane:
    """A vertical plane with coordinates in meters: u along `direction` (across, depth), v up from the ground."""

    camera: Camera
    across: float
    depth: float
    direction: tuple[float, float] = (1.0, 0.0)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Project (..., 2) points (u, v) in meters to (..., 2) scene coordinates."""
        points = np.asarray(points, dtype=float)
        along, up = points[..., 0], points[..., 1]
        return self.camera.project(self.across + along * self.direction[0], up, self.depth + along * self.direction[1])


@dataclass(frozen=True)
class Ground:
    """The ground plane with coordinates in meters: u across, v in depth."""

    camera: Camera

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Project (..., 2) points (across, depth) in meters to (..., 2) scene coordinates."""
        points = np.asarray(points, dtype=float)
        return self.camera.project(points[..., 0], 0.0, points[..., 1])


def rectangle(u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
    """Return the (4, 2) corners of a rectangle."""
    return np.array([[u0, v0], [u0, v1], [u1, v1], [u1, v0]], dtype=float)


def rectangles(left: np.ndarray, bottom: np.ndarray, width: float, height: float) -> np.ndarray:
    """Return a grid of equal rectangles, one per pair of `left` and `bottom`: (len(left) * len(bottom), 4, 2)."""
    u, v = (grid.ravel() for grid in np.meshgrid(left, bottom))
    corners = [[u, v], [u, v + height], [u + width, v + height], [u + width, v]]
    return np.array(corners).transpose(2, 0, 1)


def disc(u: float, v: float, radius: float, corners: int = 14) -> np.ndarray:
    """Return a circle as a (corners, 2) polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([u + radius * np.cos(angles), v + radius * np.sin(angles)], axis=1)


def blob(rng: np.random.Generator, u: float, v: float, width: float, height: float, corners: int = 18) -> np.ndarray:
    """Return an irregular ellipse of about the given full width and height as a (corners, 2) polygon."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    radius = rng.uniform(0.82, 1.12, corners)
    return np.stack([u + width / 2 * radius * np.cos(angles), v + height / 2 * radius * np.sin(angles)], axis=1)


def comb(length: float, height: float, spacing: float, bar: float, rail: float) -> np.ndarray:
    """Return a railing as one polygon: a rail on top and bars down to the ground, with openings between them."""
    starts = np.arange(0.0, length - bar, spacing)[::-1]
    under = height - rail
    teeth = [[[s + bar, under], [s + bar, 0.0], [s, 0.0], [s, under]] for s in starts]
    top = np.array([[0.0, height], [length, height], [length, under]])
    return np.concatenate([top, np.array(teeth).reshape(-1, 2)])


def add_holes(outline: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """Return one polygon whose holes are open under the even-odd rule.

    Its outline goes from the first corner to each hole, around it and back. These connections have no area, but are
    drawn as lines of one pixel.
    """
    home = outline[:1]
    pieces = [outline, home]
    for hole in holes:
        start = int(np.argmin(np.abs(hole - home).sum(axis=1)))
        pieces += [hole[start:], hole[: start + 1], home]
    return np.concatenate(pieces)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Return the convex hull of (n, 2) points, its corners in order (Andrew's monotone chain)."""
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
    """Return one outline of overlapping polygons: their upper and lower envelopes at up to `samples` x, (n, 2)."""
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
    """Cut a polygon to the frame plus MARGIN (Sutherland-Hodgman); the cut edges are outside the image."""
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
