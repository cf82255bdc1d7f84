"""What an evaluation of a model on a data set left behind: its scores, and the files of the evaluators.

N = images, K = semantic classes, C = classes, E = kinds of errors of segments, S = segments of the ground truth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unified_seg.data.io.text_files import read_json_object
from unified_seg.evaluation.instances.evaluator import COUNTS_FILE, DIAGNOSIS_FILE
from unified_seg.evaluation.semantic import CONFIDENCE_FILE
from unified_seg_files import read_arrays

Tasks = Mapping[str, Mapping[str, float]]  # task -> metric -> percent


@dataclass(frozen=True)
class SemanticCounts:
    """Pixels of semantic maps.

    Attributes:
        confusion: (K, K) int64, rows ground truth, columns prediction.
        per_image: (N, 3, K) int64, pixels in the intersection, the ground truth and the prediction.
        image_ids: N.
        class_names: K.
        confidences: (256, 2) int64, see `count_confidences`; None if the outputs had no logits.
    """

    confusion: np.ndarray
    per_image: np.ndarray
    image_ids: list[Any]
    class_names: list[str]
    confidences: np.ndarray | None = None


@dataclass(frozen=True)
class PanopticCounts:
    """Matches and errors of segments.

    Attributes:
        per_image: (N, 4, C): summed IoU, true positives, false positives, false negatives.
        image_ids: N.
        class_names: C.
        errors: (E, 2, C) int64, false negatives and false positives by kind and class.
        classes, areas, iou: (S,), see `PanopticEvaluator`.
    """

    per_image: np.ndarray
    image_ids: list[Any]
    class_names: list[str]
    errors: np.ndarray
    classes: np.ndarray
    areas: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True)
class InstanceCounts:
    """Matches and errors of instances.

    Attributes:
        per_image: (N, 3) int64: true positives, false positives, false negatives, see `count_per_image`.
        image_ids: N.
        diagnosis: the content of instance_errors.json, see `diagnose`.
    """

    per_image: np.ndarray
    image_ids: list[Any]
    diagnosis: dict[str, Any]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model's evaluation on a data set.

    Attributes:
        name: for captions.
        tasks: its scores; NaN if undefined.
        semantic, panoptic, instances: None if the model has no such scores.
    """

    name: str
    tasks: Tasks
    semantic: SemanticCounts | None
    panoptic: PanopticCounts | None
    instances: InstanceCounts | None

    def get_score(self, task: str, metric: str) -> float:
        """Return a score in percent; NaN if it is undefined or was not computed."""
        return self.tasks.get(task, {}).get(metric, math.nan)


def read_evaluation(name: str, tasks: Tasks, folder: Path) -> EvaluatedModel:
    """Read what the evaluators of a data set wrote into their folder.

    Args:
        name: of the model.
        tasks: the scores. Files of other tasks, which may be older, are not read.
        folder: of the evaluators.

    Raises:
        DataError, OSError, ValueError: a file is missing or damaged.
    """
    semantic = panoptic = instances = None
    if "sem_seg" in tasks:
        arrays = ("confusion", "per_image", "image_ids", "class_names")
        confusion, per_image, ids, names = read_arrays(folder / "sem_seg.npz", arrays)
        file = folder / CONFIDENCE_FILE
        confidences = read_arrays(file, ("counts",))[0] if file.is_file() else None
        semantic = SemanticCounts(confusion, per_image, ids.tolist(), names.tolist(), confidences)
    if "panoptic_seg" in tasks:
        per_image, ids, names = read_arrays(folder / "panoptic_seg.npz", ("per_image", "image_ids", "class_names"))
        errors, classes, areas, iou = read_arrays(folder / "segments.npz", ("errors", "classes", "areas", "iou"))
        panoptic = PanopticCounts(per_image, ids.tolist(), names.tolist(), errors, classes, areas, iou)
    if {"errors_segm", "errors_bbox"} & tasks.keys():
        per_image, ids = read_arrays(folder / COUNTS_FILE, ("per_image", "image_ids"))
        instances = InstanceCounts(per_image, ids.tolist(), read_json_object(folder / DIAGNOSIS_FILE))
    return EvaluatedModel(name, tasks, semantic, panoptic, instances)
