"""What is predicted for an image. (H, W) = the image, M = instances."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_seg_arrays.fusion.steps import WindowMasks


@dataclass(frozen=True)
class Instances:
    """The instances of an image.

    Attributes:
        boxes: (M, 4) float32, x0, y0, x1, y1 in pixels of the image.
        scores: (M,) float32; 0 for instances that a fusion found in the semantic map alone.
        classes: (M,) int64, thing ids.
        masks: bool, each in a window of the image; None for a model without masks.
        levels: the soft masks as levels, before a fusion; None after one.
        cells: (M,) float32, the side in pixels of what a soft mask resolves.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: WindowMasks | None = None
    levels: WindowMasks | None = None
    cells: np.ndarray | None = None


@dataclass(frozen=True)
class Prediction:
    """The prediction for an image; what the model does not predict is None.

    Attributes:
        labels: (H, W) semantic ids.
        instances: the instances.
        panoptic_ids: (H, W) int32, the segment of each pixel, 0 = void.
        segments_info: one dict per segment, as Detectron2 describes them: id, category_id (thing id or semantic id),
            isthing, area, and for things score and instance_id.
        unfused: labels and instances from before a fusion that refines them.
    """

    labels: np.ndarray | None = None
    instances: Instances | None = None
    panoptic_ids: np.ndarray | None = None
    segments_info: list[dict[str, Any]] | None = None
    unfused: "Prediction | None" = None
