"""Random draws. A scene's generator depends on nothing but the scene's own name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def scene_generator(*name: object) -> np.random.Generator:
    """A generator seeded by the parts of a name (version, preset, seed, split, index)."""
    digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with that probability."""
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def pick_weighted(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """One of the keys, as likely as its share of the weights."""
    threshold = rng.random() * sum(weights.values())
    for option, weight in weights.items():
        threshold -= weight
        if threshold < 0:
            return option
    return option


def count(rng: np.random.Generator, mean: float) -> int:
    """A whole number that averages `mean` and strays from it by little more than half."""
    return int(mean * rng.uniform(0.4, 1.6) + rng.random())


def vary(rng: np.random.Generator, color: Sequence[float], amount: float = 14.0) -> tuple[float, float, float]:
    """A color near `color`: brighter or darker by up to `amount`, each channel by up to a third of it."""
    shift = rng.uniform(-amount, amount) + rng.uniform(-amount / 3, amount / 3, 3)
    r, g, b = np.clip(np.asarray(color, dtype=float) + shift, 4, 250)
    return float(r), float(g), float(b)


def scaled(color: Sequence[float], factor: float) -> tuple[float, float, float]:
    """A color made brighter or darker by a factor, kept in range."""
    r, g, b = (min(250.0, max(3.0, channel * factor)) for channel in color)
    return r, g, b
