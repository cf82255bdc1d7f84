"""Presets: parameters that set the difficulty of the scenes.

`demo` is easy: classes differ in hue and shape, and few things are tiny. `standard` is hard:

- classes share paints and building materials: trucks, buses and trains differ only at their front end, and flat areas
  only by their surroundings;
- railings, poles and wheels are one or two pixels wide;
- rare classes are rare in the training split only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Range = tuple[float, float]

# Increase it when a change alters any label or image of `standard`.
VERSION = "1"

SPLITS = ("train", "heldout", "val")


@dataclass(frozen=True)
class Preset:
    """Parameters of a preset. Probabilities are per image unless stated otherwise; lengths are in meters."""

    name: str
    # Difficulty.
    shared_looks: bool  # classes that are easily confused share paints and materials
    one_ended: float  # share of long vehicles that can be recognized at their front end only
    blank_fronts: float  # share of row segments without windows: a wall or the side of a building
    low_fronts: float  # factor on the frequency of walls and fences between the buildings
    ambiguous_ground: float  # probability of a paved area that is sidewalk or road, depending on the kind of street
    open_structures: bool  # railings and wheels have openings
    pole_width: Range
    furniture_scale: float  # enlarges signs and traffic lights
    # Mean number per image of each kind of traffic, and factors on it in the training split.
    traffic: Mapping[str, float]
    train_rarity: Mapping[str, float] = field(default_factory=dict)
    distance: Mapping[str, Range] = field(default_factory=dict)  # distances of each kind of traffic
    side_view: float = 0.5  # share of two-wheelers in side view
    poles: float = 3.0
    trees: float = 3.0
    # Void regions and crowds.
    ego_vehicle: float = 0.1
    border: float = 0.1
    clutter: float = 0.1
    crowd: float = 0.1
    # Things with fewer visible pixels (at 128x256), or a smaller visible share of their area, are removed.
    min_pixels: int = 12
    min_visible: float = 0.2
    # The image.
    exposure: Range = (0.9, 1.1)
    haze: Range = (0.0, 0.2)
    blur: Range = (0.3, 0.5)  # standard deviation in pixels
    noise: Range = (2.0, 5.0)  # standard deviation in gray levels


DEMO = Preset(
    name="demo",
    shared_looks=False,
    one_ended=0.0,
    blank_fronts=0.0,
    low_fronts=2.0,
    ambiguous_ground=0.0,
    open_structures=False,
    pole_width=(0.3, 0.42),
    furniture_scale=1.7,
    traffic={
        "car": 1.1,
        "parked car": 0.7,
        "truck": 0.42,
        "bus": 0.42,
        "train": 0.42,
        "person": 1.7,
        "cyclist": 0.5,
        "motorcyclist": 0.5,
        "parked bicycle": 0.3,
        "parked motorcycle": 0.3,
    },
    distance={
        "car": (6.0, 16.0),
        "parked car": (6.0, 16.0),
        "long vehicle": (9.0, 18.0),
        "person": (5.0, 11.0),
        "two-wheeler": (4.5, 8.5),
        "pole": (6.0, 16.0),
    },
    side_view=0.8,
    poles=2.4,
    trees=2.0,
    ego_vehicle=0.12,
    border=0.08,
    clutter=0.1,
    crowd=0.08,
    min_pixels=60,
    min_visible=0.4,
)

STANDARD = Preset(
    name="standard",
    shared_looks=True,
    one_ended=0.65,
    blank_fronts=0.3,
    low_fronts=1.6,
    ambiguous_ground=0.4,
    open_structures=True,
    pole_width=(0.08, 0.16),
    furniture_scale=1.15,
    traffic={
        "car": 1.7,
        "parked car": 1.5,
        "truck": 0.5,
        "bus": 0.5,
        "train": 0.5,
        "person": 3.2,
        "cyclist": 0.7,
        "motorcyclist": 0.5,
        "parked bicycle": 0.6,
        "parked motorcycle": 0.35,
    },
    train_rarity={
        "truck": 0.6,
        "bus": 0.6,
        "train": 0.5,
        "motorcyclist": 0.6,
        "parked motorcycle": 0.6,
        "cyclist": 0.7,
    },
    distance={
        "car": (5.0, 35.0),
        "parked car": (5.0, 30.0),
        "long vehicle": (7.0, 18.0),
        "person": (4.5, 22.0),
        "two-wheeler": (4.5, 16.0),
        "pole": (4.5, 35.0),
    },
    side_view=0.6,
    poles=4.5,
    trees=2.5,
    ego_vehicle=0.5,
    border=0.25,
    clutter=0.4,
    crowd=0.3,
    exposure=(0.7, 1.2),
    haze=(0.05, 0.45),
    blur=(0.35, 0.65),
    noise=(3.0, 8.0),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (DEMO, STANDARD)}
