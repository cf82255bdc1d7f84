"""The difference of two models' average precision, with an interval from a paired bootstrap over the images.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Politis, Romano and Wolf,
Subsampling (1999), section 2.2.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import hotcoco

from unified_seg.evaluation.base import Output, PanopticGroundTruth, Record
from unified_seg.evaluation.instances.average_precision import (
    compute_average_precision,
    find_classes,
    find_limit,
    match_instances,
)
from unified_seg.evaluation.instances.objects import ImageInstances, read_detections, read_gt_instances
from unified_seg.evaluation.tables import format_cell, format_table
from unified_seg.structures.class_table import ClassTable

RESAMPLES = 1000
NORMAL_95 = 1.96  # standard deviations on each side of a 95 % interval
TITLES = {"bbox": "box", "segm": "mask"}
INTERVALS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class ScoreChange(NamedTuple):
    """A score of two models, in percent.

    Attributes:
        before, after: the score of each model; NaN without ground truth.
        margin: half the width of the 95 % interval of the difference; NaN for scores without an interval.
    """

    before: float
    after: float
    margin: float

    @property
    def gain(self) -> float:
        """In percentage points; negative for a loss."""
        return self.after - self.before


class InstanceComparison:
    """The instances of two or more models on the same images, collected image by image.

    Args:
        table: the classes of the models.
        with_masks: whether all models predict masks.
        max_detections: of each of the models, the baseline first, see `InstanceEvaluator`.
    """

    def __init__(self, table: ClassTable, with_masks: bool, max_detections: Sequence[int]):
        self.table = table
        self.with_masks = with_masks
        self.max_detections = max_detections
        self._ground_truth = PanopticGroundTruth(table)
        self._items: dict[Any, list[ImageInstances]] = {}

    def add(self, record: Record, outputs: Sequence[Output]) -> None:
        """Add the outputs of all models for an image.

        Raises:
            DataError, ValueError: see `read_gt_instances` and `read_detections`.
        """
        expected = read_gt_instances(record, self._ground_truth, self.with_masks)
        self._items[record["image_id"]] = [
            ImageInstances(expected, read_detections(record, output, self.table, self.with_masks), None)
            for output in outputs
        ]

    def compute(self) -> list[dict[str, dict[str, ScoreChange]]]:
        """Return, for each model but the first, the changes from the first of "bbox" and, with masks, of "segm".

        See `compare_average_precision`.
        """
        names = [c.name for c in self.table.things]
        sides = list(zip(*self._items.values()))
        # Those of all models, whose averages would else be over different classes.
        thing_ids = find_classes([image for images in sides for image in images])
        changes: list[dict[str, dict[str, ScoreChange]]] = [{} for _ in sides[1:]]
        for task in ("bbox", "segm") if self.with_masks else ("bbox",):
            # hotcoco compares evaluations of one limit: the largest, as no model has more detections than its own.
            limit = max(find_limit(images, limit) for images, limit in zip(sides, self.max_detections))
            before, *others = (match_instances(images, task, names, limit, thing_ids) for images in sides)
            for of_model, after in zip(changes, others):
                of_model[task] = compare_average_precision(before, after, names)
        return changes


def compare_average_precision(
    before: hotcoco.COCOeval, after: hotcoco.COCOeval, class_names: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, ScoreChange]:
    """Compare the average precision of two models on the same images.

    The 95 % interval of the difference is `gain` plus and minus `margin`. It tells how the difference of these two
    models depends on the images; other trainings of them would vary too.

    Args:
        before, after: the matches of each model, see `match_instances`; of the same classes.
        class_names: by thing id.
        resamples: of the bootstrap.

    Returns:
        The changes by the names of `compute_average_precision`; those of classes have no interval.
    """
    scores = [compute_average_precision(matches, class_names) for matches in (before, after)]
    compared = hotcoco.compare(before, after, n_bootstrap=resamples)
    widening = _find_widening(compared["num_images"])
    changes = {}
    for name, value in scores[0].items():
        margin = math.nan
        if name in INTERVALS and not math.isnan(value):
            margin = NORMAL_95 * widening * 100 * compared["ci"][name]["std_err"]
        changes[name] = ScoreChange(value, scores[1][name], margin)
    return changes


def describe_changes(changes: Mapping[str, Mapping[str, ScoreChange]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return the changes for a JSON file: before, after, gain and the interval's low and high, null if undefined."""

    def describe(change: ScoreChange) -> dict[str, float | None]:
        numbers = {"before": change.before, "after": change.after, "gain": change.gain}
        numbers |= {"low": change.gain - change.margin, "high": change.gain + change.margin}
        return {name: None if math.isnan(value) else value for name, value in numbers.items()}

    return {task: {name: describe(each) for name, each in of_task.items()} for task, of_task in changes.items()}


def format_changes(changes: Mapping[str, Mapping[str, ScoreChange]], names: Sequence[str]) -> str:
    """Return a table of the scores of all classes and their intervals.

    Args:
        changes: of one model, see `InstanceComparison.compute`.
        names: of the baseline and of this model.
    """
    rows = []
    for task, of_task in changes.items():
        for name in INTERVALS:
            before, after, margin = change = of_task[name]
            if math.isnan(change.gain):
                continue
            interval = "-" if math.isnan(margin) else f"{change.gain - margin:+.2f} .. {change.gain + margin:+.2f}"
            rows.append(
                [f"{TITLES[task]} {name}", format_cell(before), format_cell(after), f"{change.gain:+.2f}", interval]
            )
    return format_table(["", *names, "gain", "95 % interval"], rows)


def _find_widening(num_images: int) -> float:
    """Return the ratio of the standard error to the deviation of hotcoco's resamples.

    hotcoco draws N images with replacement, but counts an image that is drawn several times once. Such a subsample has
    the fraction f of the images, without repetition, so that its scores vary by sqrt((1 - f) / f) times the standard
    error. NaN for a single image, which every resample is.
    """
    fraction = 1 - (1 - 1 / num_images) ** num_images
    return math.sqrt(fraction / (1 - fraction)) if fraction < 1 else math.nan
