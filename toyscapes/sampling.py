"""Random draws. The generator of a scene depends only on the name of the scene."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def scene_generator(*name: object) -> np.random.Generator:
    """Return a generator seeded by the parts of a name (version, preset, seed, split, index)."""
    digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def occurs(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options uniformly."""
    return options[int(rng.integers(len(options)))]


def pick_weighted(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """Draw one of the keys with a probability proportional to its weight."""
    threshold = rng.random() * sum(weights.values())
    for option, weight in weights.items():
        threshold -= weight
        if threshold < 0:
            return option
    return option


def draw_count(rng: np.random.Generator, mean: float) -> int:
    """Draw an integer between about 0.4 and 1.6 times `mean`."""
    return int(mean * rng.uniform(0.4, 1.6) + rng.random())


def vary_color(rng: np.random.Generator, color: Sequence[float], amount: float = 14.0) -> tuple[float, float, float]:
    """Draw a color near `color`: shifted by up to `amount`, and each channel by up to a third of that."""
    shift = rng.uniform(-amount, amount) + rng.uniform(-amount / 3, amount / 3, 3)
    r, g, b = np.clip(np.asarray(color, dtype=float) + shift, 4, 250)
    return float(r), float(g), float(b)


def scale_color(color: Sequence[float], factor: float) -> tuple[float, float, float]:
    """Return a color scaled by a factor and clipped to [3, 250]."""
    r, g, b = (min(250.0, max(3.0, channel * factor)) for channel in color)
    return r, g, b
