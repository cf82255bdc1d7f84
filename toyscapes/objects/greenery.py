"""Trees and hedges."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Plane, blob, rectangle
from toyscapes.sampling import vary_color
from toyscapes.scene import Color, Material, Part, SceneObject

LEAVES: Color = (56, 92, 44)


def make_tree(rng: np.random.Generator, plane: Plane, height: float) -> SceneObject:
    """Return a tree; crown and trunk are vegetation, as in Cityscapes."""
    crown = blob(rng, 0.0, height * 0.66, height * rng.uniform(0.55, 0.75), height * 0.66)
    lowest = int(np.argmin(crown[:, 1]))
    turned = np.roll(crown, -lowest, axis=0)
    thick = 0.022 * height + 0.05
    # The outline enters the trunk at the lowest point of the crown and goes around the crown from there.
    trunk = np.array([(-thick, turned[0, 1]), (-thick, 0.0), (thick, 0.0), (thick, turned[0, 1])])
    bark = Part((78, 62, 48), (plane(rectangle(-thick, 0.0, thick, crown[:, 1].min())),))
    outline = plane(np.concatenate([trunk, turned[1:]]))
    return SceneObject("vegetation", outline, make_leaves(rng), plane.depth, (bark,))


def make_hedge(rng: np.random.Generator, plane: Plane, length: float) -> SceneObject:
    """Return a hedge of a length in meters."""
    height = rng.uniform(2.0, 4.0)
    top = np.linspace(length, 0.0, 14)
    ragged = np.stack([top, height * rng.uniform(0.85, 1.15, 14)], axis=1)
    outline = np.concatenate([[(0.0, 0.0), (length, 0.0)], ragged])
    return SceneObject("vegetation", plane(outline), make_leaves(rng), plane.depth)


def make_leaves(rng: np.random.Generator) -> Material:
    """Draw the material of leaves."""
    return Material(vary_color(rng, LEAVES, 16), "leaf", 0.22, (1.2, 0.72))
