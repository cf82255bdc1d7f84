"""Placement of vehicles, persons and street furniture with limited mutual occlusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from toyscapes.geometry import Plane, rectangle, skyline
from toyscapes.objects import people, two_wheelers, vehicles
from toyscapes.objects.furniture import make_clutter, make_pole
from toyscapes.objects.greenery import make_tree
from toyscapes.objects.street import SIDES, Street
from toyscapes.presets import Preset
from toyscapes.sampling import draw_count, occurs, pick
from toyscapes.scene import Part, SceneObject, Shadow

ATTEMPTS = 12
MAX_COVERED = 0.45  # largest share of the box of a farther thing that a nearer one may cover
CROSSING = ("left", "right")
ALONG = ("rear", "front")


@dataclass(frozen=True)
class Placed:
    """Objects at one place with their shadows; `cue` holds the (n, 2) corners of the part that must stay visible."""

    objects: list[SceneObject]
    shadows: list[Shadow]
    cue: np.ndarray | None = None


class Traffic:
    """Vehicles, persons and street furniture of a scene, drawn by `populate`.

    Attributes:
        objects: from far to near.
        shadows: their shadows on the ground.
    """

    def __init__(self, rng: np.random.Generator, preset: Preset, street: Street) -> None:
        self.rng = rng
        self.preset = preset
        self.street = street
        self.objects: list[SceneObject] = []
        self.shadows: list[Shadow] = []
        self._taken: list[tuple[float, np.ndarray]] = []

    def populate(self, split: str) -> None:
        """Draw the objects of one scene; in the split "train" with the frequencies of `Preset.train_rarity`."""
        rng = self.rng
        numbers = {}
        for kind, mean in self.preset.traffic.items():
            rarity = self.preset.train_rarity.get(kind, 1.0) if split == "train" else 1.0
            numbers[kind] = draw_count(rng, mean * rarity)
        # The first kind finds the most free space, so the order of the long vehicles is random.
        for label in rng.permutation(vehicles.LONG_VEHICLES).tolist():
            self._add(numbers[label], partial(self._long_vehicle, label))
        self._add(numbers["car"], self._moving_car)
        self._add(numbers["parked car"], self._parked_car)
        self._add(numbers["cyclist"], partial(self._rider, "bicycle"))
        self._add(numbers["motorcyclist"], partial(self._rider, "motorcycle"))
        self._add(numbers["parked bicycle"], partial(self._parked, two_wheelers.make_bicycle))
        self._add(numbers["parked motorcycle"], partial(self._parked, two_wheelers.make_motorcycle))
        self._add(numbers["person"], self._person)
        if occurs(rng, self.preset.crowd):
            self.objects.append(self._group())
        self._furnish()
        self.objects.sort(key=lambda obj: -obj.depth)

    def _add(self, number: int, draw: Callable[[], Placed]) -> None:
        """Add up to `number` objects; each is left out if none of ATTEMPTS places is free."""
        for _ in range(number):
            for _ in range(ATTEMPTS):
                placed = draw()
                if self._reserve(placed):
                    self.objects += placed.objects
                    self.shadows += placed.shadows
                    break

    def _reserve(self, placed: Placed) -> bool:
        """Return whether the objects are visible and cover no other too much; if so, reserve their place."""
        shapes = [np.concatenate([obj.polygon for obj in placed.objects])]
        if placed.cue is not None:
            shapes.append(placed.cue)
        depth = min(obj.depth for obj in placed.objects)
        boxes = []
        for corners in shapes:
            box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
            seen = np.clip(box, 0.0, [2.0, 1.0, 2.0, 1.0])
            if seen[2] - seen[0] < 0.3 * (box[2] - box[0]):
                return False
            if any(_covered(seen, depth, other, other_depth) > MAX_COVERED for other_depth, other in self._taken):
                return False
            boxes.append((depth, seen))
        self._taken += boxes
        return True

    def _depth(self, kind: str) -> float:
        """Draw a distance that is uniform in the y of the foot point."""
        near, far = self.preset.distance[kind]
        return 1.0 / self.rng.uniform(1.0 / far, 1.0 / near)

    def _standing(self, vehicle: vehicles.Vehicle, across: float, depth: float, view: str) -> Placed:
        """Return a vehicle on the ground with its shadow."""
        crossing = view in CROSSING
        half = (vehicle.length if crossing else vehicle.width) / 2
        back = depth + (vehicle.width if crossing else vehicle.length)
        objects = vehicles.place_vehicle(vehicle, self.street.camera, across, depth, view)
        cue = None
        if crossing and vehicle.label in vehicles.LONG_VEHICLES:
            front = Plane(self.street.camera, across + (half if view == "right" else -half), depth)
            inward = -vehicles.CUE_LENGTH if view == "right" else vehicles.CUE_LENGTH
            cue = front(rectangle(0.0, 0.5, inward, vehicle.height))
        return Placed(objects, [self._shadow(across - half, across + half, depth, back, 0.5)], cue)

    def _shadow(self, left: float, right: float, near: float, far: float, strength: float) -> Shadow:
        """Return the shadow of a box on the ground, extended away from the sun."""
        lean = -0.3 * (right - left) * self.street.sunny_side
        lean = float(np.clip(lean, -0.6, 0.6))
        corners = np.array([(left + min(lean, 0), near - 0.15), (right + max(lean, 0), near - 0.15),
                            (right + max(lean, 0), far), (left + min(lean, 0), far)])  # fmt: skip
        return Shadow(self.street.camera.project(corners[:, 0], 0.0, corners[:, 1]), strength)

    def _long_vehicle(self, label: str) -> Placed:
        rng, street = self.rng, self.street
        vehicle = vehicles.make_long_vehicle(rng, self.preset, label)
        if not street.junction:
            return self._in_lane(vehicle, self._depth("long vehicle"))
        depth = rng.uniform(street.junction[0] + 0.5, street.junction[1] - 2.5)
        view = pick(rng, CROSSING)
        # Only the front end identifies the class, so it is between the corners of the junction; the rear may be hidden.
        low, high = street.opening()
        front = street.camera.across_at(rng.uniform(low + 0.15, high - 0.05), depth)
        if view == "left":
            front = street.camera.across_at(rng.uniform(low + 0.05, high - 0.15), depth)
        across = front + (vehicle.length / 2 if view == "left" else -vehicle.length / 2)
        return self._standing(vehicle, across, depth, view)

    def _in_lane(self, vehicle: vehicles.Vehicle, depth: float) -> Placed:
        """Return a vehicle in right-hand traffic: the right lane shows rears, the left lane fronts."""
        left, right = self.street.curb
        middle = (right - left) / 2
        if occurs(self.rng, 0.5):
            return self._standing(vehicle, (middle + right) / 2, depth, "rear")
        return self._standing(vehicle, (middle - left) / 2, depth, "front")

    def _moving_car(self) -> Placed:
        rng, street = self.rng, self.street
        vehicle = vehicles.make_car(rng, self.preset)
        if street.junction and occurs(rng, 0.4):
            depth = rng.uniform(street.junction[0], street.junction[1] - 2.0)
            across = street.camera.across_at(rng.uniform(*street.opening()), depth)
            return self._standing(vehicle, across, depth, pick(rng, CROSSING))
        return self._in_lane(vehicle, self._depth("car"))

    def _parked_car(self) -> Placed:
        vehicle = vehicles.make_car(self.rng, self.preset)
        side = pick(self.rng, SIDES)
        across = side * (self.street.curb[SIDES.index(side)] - vehicle.width / 2 - 0.15)
        return self._standing(vehicle, across, self._depth("parked car"), "rear" if side > 0 else "front")

    def _two_wheeler_view(self) -> str:
        return pick(self.rng, CROSSING if occurs(self.rng, self.preset.side_view) else ALONG)

    def _rider(self, machine: str) -> Placed:
        rng, street = self.rng, self.street
        depth, view = self._depth("two-wheeler"), self._two_wheeler_view()
        across = street.camera.across_at(rng.uniform(0.15, 1.85), depth)
        across = float(np.clip(across, 0.4 - street.curb[0], street.curb[1] - 0.4))
        objects = people.make_rider(rng, self.preset, street.camera, across, depth, view, machine)
        return Placed(objects, [self._small_shadow(across, depth, 0.9 if view in CROSSING else 0.3)])

    def _parked(self, build: Callable[..., list[SceneObject]]) -> Placed:
        depth, view = self._depth("two-wheeler"), self._two_wheeler_view()
        across = self._on_sidewalk()
        objects = build(self.rng, self.preset, self.street.camera, across, depth, view)
        return Placed(objects, [self._small_shadow(across, depth, 0.9 if view in CROSSING else 0.3)])

    def _person(self) -> Placed:
        rng, camera = self.rng, self.street.camera
        depth = self._depth("person")
        across = self._on_sidewalk()
        if occurs(rng, 0.35):
            across = rng.uniform(-self.street.curb[0], self.street.curb[1])
        objects = people.make_person(rng, self.preset, camera, across, depth)
        if self.preset.shared_looks and occurs(rng, 0.12):
            # A person beside a bicycle is labeled person, not rider.
            objects += two_wheelers.make_bicycle(rng, self.preset, camera, across, depth - 0.3, pick(rng, CROSSING))
        return Placed(objects, [self._small_shadow(across, depth, 0.3)])

    def _small_shadow(self, across: float, depth: float, half: float) -> Shadow:
        return self._shadow(across - half, across + half, depth, depth + 0.35, 0.35)

    def _on_sidewalk(self) -> float:
        i = int(self.rng.integers(2))
        return SIDES[i] * self.rng.uniform(self.street.curb[i] + 0.4, self.street.walk[i] - 0.3)

    def _group(self) -> SceneObject:
        """Return a group of persons, parked bicycles or distant cars that is annotated as one object."""
        rng, camera = self.rng, self.street.camera
        kind = pick(rng, ("person", "bicycle", "car"))
        depth = rng.uniform(14.0, 26.0)
        across = self._on_sidewalk()
        members: list[SceneObject] = []
        for i in range(int(rng.integers(4, 7))):
            if kind == "person":
                members += people.make_person(rng, self.preset, camera, across + 0.38 * i, depth)
            elif kind == "bicycle":
                members += two_wheelers.make_bicycle(rng, self.preset, camera, across + 0.5 * i, depth, "left")
            else:
                model = vehicles.make_car(rng, self.preset)
                members += vehicles.place_vehicle(model, camera, across + 1.9 * i, depth, "front")
        parts = [part for member in members for part in (Part(member.material.color, [member.polygon]), *member.parts)]
        outline = skyline([member.polygon for member in members])
        return SceneObject(f"{kind}group", outline, members[0].material, depth, tuple(parts))

    def _furnish(self) -> None:
        """Add poles at the curbs, trees at the outer edges of the sidewalks, and sometimes a static object."""
        rng, street = self.rng, self.street
        for _ in range(draw_count(rng, self.preset.poles)):
            i = int(rng.integers(2))
            place = Plane(street.camera, SIDES[i] * (street.curb[i] + 0.45), self._depth("pole"))
            self.objects += make_pole(rng, self.preset, place)
        for _ in range(draw_count(rng, self.preset.trees)):
            i = int(rng.integers(2))
            depth = 1.0 / rng.uniform(1 / 45.0, 1 / 10.0)
            place = Plane(street.camera, SIDES[i] * (street.walk[i] + 0.2), depth)
            self.objects.append(make_tree(rng, place, rng.uniform(4.5, 7.5)))
            self.shadows.append(self._shadow(place.across - 1.0, place.across + 1.0, depth, depth + 1.5, 0.3))
        if occurs(rng, self.preset.clutter):
            place = Plane(street.camera, self._on_sidewalk(), self._depth("pole"))
            self.objects.append(make_clutter(rng, place))


def _covered(box: np.ndarray, depth: float, other: np.ndarray, other_depth: float) -> float:
    """Return the share of the farther of two boxes (x0, y0, x1, y1) that the nearer one covers."""
    overlap = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    if overlap.min() <= 0:
        return 0.0
    farther = box if depth > other_depth else other
    return float(np.prod(overlap) / max(np.prod(farther[2:] - farther[:2]), 1e-9))
