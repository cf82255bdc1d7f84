"""Cars, trucks, buses and trains: side profiles in meters, extruded and projected.

Trucks, buses, trains and vans share one box, one set of wheels and, with `Preset.shared_looks`, one set of paints.
Their front ends differ: a truck has a cab of another color behind a gap, a bus a door under a destination display, a
train a slanted nose with a warning panel. A share `Preset.one_ended` of them has no windows along the side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toyscapes.geometry import Camera, Plane, convex_hull, disc, rectangle, rectangles
from toyscapes.presets import Preset
from toyscapes.sampling import occurs, pick, scale_color, vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

GLASS: Color = (52, 64, 76)
TIRE: Color = (26, 26, 28)
HUB: Color = (120, 122, 126)
PLATE: Color = (225, 225, 215)
HEADLIGHT: Color = (250, 246, 220)
TAIL_LIGHT: Color = (205, 30, 30)

SHARED_PAINTS: tuple[Color, ...] = (
    (196, 198, 200), (232, 232, 228), (150, 34, 36), (38, 70, 130), (44, 96, 70), (206, 160, 48), (74, 78, 84),
)  # fmt: skip
CAR_PAINTS: tuple[Color, ...] = (
    (190, 24, 30), (24, 50, 150), (170, 176, 184), (30, 32, 36), (120, 20, 60), (20, 84, 120),
)  # fmt: skip
DISTINCT_PAINTS: dict[str, tuple[Color, ...]] = {
    "truck": ((222, 226, 230), (150, 190, 215)),
    "bus": ((232, 178, 30), (240, 150, 20)),
    "train": ((30, 130, 90), (20, 105, 100)),
}
LONG_VEHICLES = ("truck", "bus", "train")
CUE_LENGTH = 3.0  # meters of the front end by which they are recognized
DISPLAY: Color = (255, 170, 40)
WARNING_PANEL: Color = (250, 215, 30)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle in meters.

    `profile` and `side` have coordinates (length, height) with the front at full length, `front` and `rear` have
    (width, height) with the middle at zero.
    """

    label: str
    paint: Color
    width: float
    profile: np.ndarray
    side: tuple[Part, ...]
    front: tuple[Part, ...]
    rear: tuple[Part, ...]

    @property
    def length(self) -> float:
        """Length in meters."""
        return float(self.profile[:, 0].max())

    @property
    def height(self) -> float:
        """Height in meters."""
        return float(self.profile[:, 1].max())


def _underside(wheels: list[float], radius: float, clearance: float) -> list[tuple[float, float]]:
    """Return the lower edge of a profile from front to rear, with wheels that reach the ground."""
    steps = ((1.0, clearance), (0.65, 0.07), (0.0, 0.0), (-0.65, 0.07), (-1.0, clearance))
    return [(center + radius * step, up) for center in sorted(wheels, reverse=True) for step, up in steps]


def _wheel_parts(wheels: list[float], radius: float) -> tuple[Part, Part]:
    tires = np.stack([disc(center, radius, radius * 1.05) for center in wheels])
    hubs = np.stack([disc(center, radius, radius * 0.5, corners=10) for center in wheels])
    return Part(TIRE, tires), Part(HUB, hubs)


def _ends(width: float, height: float, sill: float) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return the parts of front and rear of a vehicle whose windshield begins at the height `sill`."""
    half = width / 2
    top = height - 0.12
    screen = np.array([[-half * 0.86, sill], [-half * 0.74, top], [half * 0.74, top], [half * 0.86, sill]])
    lamps = rectangles(np.array([-half * 0.92, half * 0.6]), np.array([0.58]), half * 0.32, 0.16)
    plate = Part(PLATE, (rectangle(-0.26, 0.42, 0.26, 0.54),))
    tires = Part(TIRE, rectangles(np.array([-half * 0.95, half * 0.68]), np.array([0.0]), half * 0.27, 0.34))
    grille = Part((40, 40, 44), (rectangle(-half * 0.5, 0.56, half * 0.5, 0.74),))
    front = (tires, Part(GLASS, (screen,)), grille, Part(HEADLIGHT, lamps), plate)
    rear = (tires, Part(GLASS, (screen * [0.9, 1.0] + [0.0, 0.04],)), Part(TAIL_LIGHT, lamps), plate)
    return front, rear


def make_car(rng: np.random.Generator, preset: Preset) -> Vehicle:
    """Return a hatchback, a sedan or, with a probability of 0.15, a van."""
    if occurs(rng, 0.15):
        return make_van(rng, preset)
    paint = vary_color(rng, pick(rng, SHARED_PAINTS if preset.shared_looks else CAR_PAINTS))
    length, height, waist = rng.uniform(3.9, 4.7), rng.uniform(1.42, 1.58), 0.92
    trunk_end = rng.uniform(0.05, 0.75) if occurs(rng, 0.5) else 0.05
    wheels, radius = [0.19 * length, 0.81 * length], 0.33
    roof_start, roof_end, hood = trunk_end + 0.45, 0.56 * length, 0.75 * length
    top = [(0.0, 0.32), (0.02, waist), (trunk_end, waist + 0.04), (roof_start, height), (roof_end, height)]
    nose = [(hood, waist), (length - 0.06, 0.76), (length, 0.32)]
    profile = np.array(top + nose + _underside(wheels, radius, 0.3))
    middle = (roof_start + roof_end) / 2
    windows = (
        np.array([(trunk_end + 0.12, waist), (roof_start + 0.06, height - 0.1), (middle - 0.05, height - 0.1),
                  (middle - 0.05, waist)]),
        np.array([(middle + 0.05, waist), (middle + 0.05, height - 0.1), (roof_end, height - 0.1),
                  (hood - 0.16, waist)]),
    )  # fmt: skip
    lamps = (
        Part(HEADLIGHT, (rectangle(length - 0.22, 0.6, length, 0.74),)),
        Part(TAIL_LIGHT, (rectangle(0.0, 0.68, 0.16, 0.86),)),
    )
    side = (Part(GLASS, windows), *_wheel_parts(wheels, radius), *lamps)
    front, rear = _ends(1.8, height, waist)
    return Vehicle("car", paint, 1.8, profile, side, front, rear)


def make_van(rng: np.random.Generator, preset: Preset) -> Vehicle:
    """Return a panel van, a car in Cityscapes: the box of a small truck without a gap behind the cab."""
    paint = vary_color(rng, pick(rng, SHARED_PAINTS if preset.shared_looks else CAR_PAINTS))
    length, height = rng.uniform(5.2, 6.6), rng.uniform(2.1, 2.6)
    wheels, radius = [0.2 * length, length - 0.95], 0.36
    top = [(0.0, 0.34), (0.0, height), (length - 1.9, height), (length - 1.05, 1.3), (length - 0.05, 1.0)]
    profile = np.array([*top, (length, 0.34), *_underside(wheels, radius, 0.32)])
    door = np.array([(length - 2.2, 1.25), (length - 2.2, height - 0.3), (length - 1.85, height - 0.3),
                     (length - 1.2, 1.25)])  # fmt: skip
    lamps = (
        Part(HEADLIGHT, (rectangle(length - 0.2, 0.72, length, 0.9),)),
        Part(TAIL_LIGHT, (rectangle(0.0, 0.8, 0.12, 1.2),)),
    )
    side = (Part(GLASS, (door,)), *_wheel_parts(wheels, radius), *lamps)
    front, rear = _ends(2.0, height, 1.3)
    return Vehicle("car", paint, 2.0, profile, side, front, rear)


def make_long_vehicle(rng: np.random.Generator, preset: Preset, label: str) -> Vehicle:
    """Return a truck, bus or train. Raises KeyError for other labels."""
    one_ended = occurs(rng, preset.one_ended)
    paints = SHARED_PAINTS if preset.shared_looks else DISTINCT_PAINTS[label]
    paint = vary_color(rng, pick(rng, paints))
    if preset.shared_looks:
        length = rng.uniform(9.0, 15.0) + (rng.uniform(0.0, 7.0) if label == "train" else 0.0)
        height = rng.uniform(2.9, 3.3)
    else:
        low, high = {"truck": (7.0, 9.0), "bus": (10.0, 12.0), "train": (15.0, 22.0)}[label]
        length = rng.uniform(low, high)
        height = rng.uniform(3.0, 3.4)
    radius, width = 0.46, 2.5
    wheels = [0.13 * length, length - 1.25]
    if occurs(rng, 0.5):
        wheels.insert(1, wheels[0] + 1.2)
    nose, cue, body_end = _front_end(label, paint, length, height)
    profile = np.array([(0.0, 0.42), (0.0, height), *nose, (length, 0.4), *_underside(wheels, radius, 0.4)])
    body = _stripe(rng, paint, body_end, height)
    if not one_ended:
        body += _along_the_side(label, paint, body_end, height)
    side = (*body, *cue, *_wheel_parts(wheels, radius))
    front, rear = _ends(width, height, {"truck": 1.5, "bus": 1.0, "train": 1.7}[label])
    if label == "truck":
        rear = (Part(scale_color(paint, 0.8), (rectangle(-0.02, 0.6, 0.02, height - 0.1),)), *rear[2:])
    if label == "bus":
        front += (Part(DISPLAY, (rectangle(-1.0, height - 0.5, 1.0, height - 0.08),)),)
    if label == "train":
        panel = (Part(WARNING_PANEL, (rectangle(-1.1, 0.6, 1.1, 1.6),)),)
        front, rear = front + panel, rear + panel
    return Vehicle(label, paint, width, profile, side, front, rear)


def _front_end(label: str, paint: Color, length: float, height: float) -> tuple[list, tuple[Part, ...], float]:
    """Return the upper outline of the front end, its parts, and the length at which the body ends."""
    if label == "truck":
        back = length - 2.1
        cab = height - 0.45
        nose = [(back - 0.3, height), (back - 0.3, 1.0), (back, 1.0), (back, cab), (length - 0.3, cab), (length, 1.4)]
        window = np.array([(length - 1.2, 1.5), (length - 1.2, cab - 0.25), (length - 0.42, cab - 0.25),
                           (length - 0.12, 1.5)])  # fmt: skip
        outline = np.array([(back, 0.42), (back, cab), (length - 0.3, cab), (length, 1.4), (length, 0.42)])
        # A light cab in front of a dark box, a dark cab in front of a light one.
        color = (54, 58, 66) if sum(paint) > 360 else (236, 236, 232)
        return nose, (Part(color, (outline,)), Part(GLASS, (window,))), back - 0.3
    if label == "bus":
        nose = [(length - 0.15, height), (length, height - 0.4)]
        door = rectangle(length - 2.6, 0.5, length - 0.85, height - 0.8)
        post = rectangle(length - 1.8, 0.5, length - 1.7, height - 0.8)
        screen = rectangle(length - 0.6, 1.1, length, height - 0.8)
        display = rectangle(length - 3.0, height - 0.7, length - 0.1, height - 0.1)
        parts = (Part(GLASS, (door, screen)), Part(HUB, (post,)), Part(DISPLAY, (display,)))
        return nose, parts, length - 3.0
    if label == "train":
        nose = [(length - 2.2, height), (length - 1.5, height - 0.15), (length - 0.25, 1.6), (length, 0.9)]
        screen = np.array([(length - 1.75, 1.75), (length - 1.75, height - 0.3), (length - 1.4, height - 0.35),
                           (length - 0.5, 1.75)])  # fmt: skip
        panel = np.array([(length - 2.6, 0.5), (length - 2.6, 1.6), (length - 0.25, 1.6), (length, 0.9), (length, 0.5)])
        return nose, (Part(GLASS, (screen,)), Part(WARNING_PANEL, (panel,))), length - 2.6
    raise KeyError(f"no long vehicle is called {label!r}; there are {', '.join(LONG_VEHICLES)}")


def _stripe(rng: np.random.Generator, paint: Color, end: float, height: float) -> tuple[Part, ...]:
    """Return a band or a panel of another color, which all long vehicles have."""
    tone = scale_color(paint, rng.uniform(0.6, 0.85))
    if occurs(rng, 0.5):
        low = rng.uniform(0.6, 1.2)
        return (Part(tone, (rectangle(0.0, low, end, low + rng.uniform(0.3, 0.6)),)),)
    left = rng.uniform(0.05, 0.4) * end
    return (Part(tone, (rectangle(left, 1.0, left + rng.uniform(0.2, 0.5) * end, height - 0.5),)),)


def _along_the_side(label: str, paint: Color, end: float, height: float) -> tuple[Part, ...]:
    """Return ribs, windows, or windows and doors along the whole body."""
    if label == "truck":
        ribs = np.arange(0.4, end - 0.2, 0.8)
        return (Part(scale_color(paint, 0.78), rectangles(ribs, np.array([0.7]), 0.1, height - 0.85)),)
    pitch = 1.5 if label == "bus" else 1.9
    starts = np.arange(0.35, end - pitch + 0.3, pitch)
    windows = Part(GLASS, rectangles(starts, np.array([1.5]), pitch - 0.25, height - 2.0))
    if label == "bus":
        return (windows,)
    doors = Part(scale_color(paint, 1.5), rectangles(starts[1::3], np.array([0.5]), pitch - 0.3, height - 0.9))
    return (windows, doors, Part((235, 235, 230), (rectangle(0.0, 1.0, end, 1.25),)))


def place_vehicle(vehicle: Vehicle, camera: Camera, across: float, depth: float, view: str) -> list[SceneObject]:
    """Place a vehicle on the ground.

    Args:
        vehicle: what to place.
        camera: of the scene.
        across, depth: position in meters; the middle of a crossing vehicle, the near end of one along the street.
        view: "left" or "right" for a crossing vehicle, "rear" or "front" for one along the street.

    Returns:
        The vehicle and, if near and along the street, its license plate.
    """
    if view in ("left", "right"):
        heading = 1.0 if view == "right" else -1.0
        plane = Plane(camera, across - heading * vehicle.length / 2, depth, (heading, 0.0))
        parts = tuple(part.mapped(plane) for part in vehicle.side)
        return [_painted(vehicle, plane(vehicle.profile), parts, depth)]

    half = vehicle.width / 2
    start, heading = (depth, 1.0) if view == "rear" else (depth + vehicle.length, -1.0)
    flanks = [Plane(camera, across + side * half, start, (0.0, heading)) for side in (-1, 1)]
    outline = convex_hull(np.concatenate([flank(vehicle.profile) for flank in flanks]))
    end = Plane(camera, across, depth)
    parts = tuple(part.mapped(end) for part in (vehicle.rear if view == "rear" else vehicle.front))
    if abs(across) > half:
        flank = flanks[0] if across > 0 else flanks[1]
        shaded = Part(scale_color(vehicle.paint, 0.8), (vehicle.profile,))
        parts = tuple(part.mapped(flank) for part in (shaded, *vehicle.side)) + parts
    objects = [_painted(vehicle, outline, parts, depth)]
    if vehicle.label == "car" and depth < 9.0:
        plate = Material(PLATE)
        objects.append(SceneObject("license plate", end(rectangle(-0.26, 0.42, 0.26, 0.54)), plate, depth))
    return objects


def _painted(vehicle: Vehicle, polygon: np.ndarray, parts: tuple[Part, ...], depth: float) -> SceneObject:
    material = Material(vehicle.paint, "grain", 0.03, (1.12, 0.8))
    return SceneObject(vehicle.label, polygon, material, depth, parts)
