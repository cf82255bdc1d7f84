"""An image with predictions to draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg.structures.class_table import ClassTable


@dataclass(frozen=True)
class Scene:
    """An image with a model's outputs and, if it is known, the ground truth.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        outputs: of the model for this image.
        table: the classes.
        ground_truth: (H, W) semantic ids or the ignore label; None if unknown.
    """

    image: np.ndarray
    outputs: Mapping[str, Any]
    table: ClassTable
    ground_truth: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[0], self.image.shape[1]
