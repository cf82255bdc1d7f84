"""Sky, and buildings and trees at the end of the street."""

from __future__ import annotations

import numpy as np

from toyscapes.geometry import Plane, blob, rectangle, rectangles
from toyscapes.objects.greenery import make_leaves
from toyscapes.objects.rows import BUILDING_COLORS
from toyscapes.objects.street import FARTHEST, Street
from toyscapes.sampling import occurs, pick, scale_color, vary_color
from toyscapes.scene import Material, Part, SceneObject


def make_backdrop(rng: np.random.Generator, street: Street) -> list[SceneObject]:
    """Return the sky, and buildings and trees over the whole width at the end of the street."""
    camera = street.camera
    sky = Material(vary_color(rng, street.sky, 8), "cloud", rng.uniform(0.03, 0.13), (0.86, 1.1))
    objects = [SceneObject("sky", rectangle(-0.1, -0.1, 2.1, camera.horizon + 0.02), sky, 1e3)]
    across = -95.0
    while across < 95.0:
        width = rng.uniform(9.0, 20.0)
        plane = Plane(camera, across, FARTHEST + 8)
        if occurs(rng, 0.45):
            height = rng.uniform(7.0, 15.0)
            color = vary_color(rng, pick(rng, BUILDING_COLORS))
            panes = rectangles(np.arange(1.0, width - 1.5, 2.4), np.arange(1.2, height - 1.5, 3.0), 1.2, 1.5)
            objects.append(
                SceneObject("building", plane(rectangle(0, -0.5, width, height)), Material(color, "mottle", 0.04),
                            FARTHEST, (Part(scale_color(color, 0.6), plane(panes)),))
            )  # fmt: skip
        else:
            height = rng.uniform(5.0, 12.0)
            crown = blob(rng, width / 2, height * 0.35, width * 1.3, height * 1.3)
            crown[:, 1] = np.maximum(crown[:, 1], -0.5)
            objects.append(SceneObject("vegetation", plane(crown), make_leaves(rng), FARTHEST))
        across += width * 0.95
    return objects
