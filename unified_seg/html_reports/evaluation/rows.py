"""The rows of the page's tables, of one or more models side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unified_seg.config.heads import earlier_predictions
from unified_seg.evaluation.instances.comparison import ScoreChange
from unified_seg.evaluation.tables import list_classes
from unified_seg.html_reports.evaluation.files import EvaluatedModel, PanopticCounts, SemanticCounts
from unified_seg.html_reports.evaluation.named_errors import KIND_MEANINGS
from unified_seg.ops.metrics.bootstrap import Interval, bootstrap_difference, compute_mean_iou, compute_mean_pq
from unified_seg.ops.metrics.panoptic_quality import PanopticMatches
from unified_seg.ops.metrics.segment_errors import KINDS, compute_lost_quality

#: Pairs of classes in the list of confusions.
MAX_CONFUSIONS = 25
RESAMPLES = 2_000


class Score(NamedTuple):
    """A score of the page: where it is in the results, and what it means."""

    caption: str
    task: str
    metric: str
    meaning: str


SCORES = (
    Score("PQ", "panoptic_seg", "PQ", "panoptic quality: SQ × RQ, the mean over the classes"),
    Score("SQ", "panoptic_seg", "SQ", "how exact found segments are: the mean IoU of the matched ones"),
    Score("RQ", "panoptic_seg", "RQ", "how many segments are found: F1 of segments, which match above an IoU of 1/2"),
    Score("PQ things", "panoptic_seg", "PQ_th", "PQ of countable objects alone"),
    Score("PQ stuff", "panoptic_seg", "PQ_st", "PQ of regions such as road and sky alone"),
    Score("mIoU", "sem_seg", "mIoU", "pixels that prediction and ground truth share, of those in either; class mean"),
    Score("mIoU categories", "sem_seg", "mIoU_category", "the same, where confusions inside of a category are right"),
    Score("pixels right", "sem_seg", "pACC", "the share of the labeled pixels whose class is right"),
    Score("class accuracy", "sem_seg", "mACC", "the share of the pixels of a class that are right; class mean"),
    Score("mask AP", "segm", "AP", "COCO's average precision of masks, the mean over IoU thresholds 0.5 to 0.95"),
    Score("mask AP50", "segm", "AP50", "the same where an IoU of 1/2 is enough"),
    Score("mask AP75", "segm", "AP75", "the same at an IoU of 3/4: higher for exact masks"),
    Score("box AP", "bbox", "AP", "COCO's average precision of boxes"),
    Score("box AP50", "bbox", "AP50", "the same where an IoU of 1/2 is enough"),
    Score("Cityscapes AP", "cityscapes_instances", "AP", "average precision by the rules of Cityscapes"),
    Score("objects found", "recognition", "found", "objects with a detection of any class, at an IoU of 1/2"),
    Score("class by pixels", "recognition", "pixels", "of the pixels of found objects, right in the semantic map"),
    Score("after the fusion", "recognition", "pixels_fused", "of the same pixels, right after the fusion"),
    Score("class by boxes", "recognition", "boxes", "of the same pixels, right if each had the class of its detection"),
)
#: Sizes of objects: the metric, and what it is.
SIZES = {
    "small": ("APs", "objects of less than 32² pixels"),
    "medium": ("APm", "of 32² to 96² pixels"),
    "large": ("APl", "of more than 96² pixels"),
}
#: TIDE's kinds of errors of detections, with what they mean.
DETECTION_ERRORS = {
    "Cls": ("wrong class", "the right place (IoU of at least 0.5) with another class"),
    "Loc": ("inexact", "the right class, but an IoU of 0.1 to 0.5"),
    "Both": ("wrong class and inexact", "another class, and an IoU of 0.1 to 0.5"),
    "Dupe": ("duplicate", "a second detection of an object"),
    "Bkg": ("by mistake", "a detection where no object is"),
    "Miss": ("missed", "an object that no detection is near"),
}
OUTLINES = "exact outlines"


class Row(NamedTuple):
    """A row of scores.

    Attributes:
        caption, meaning: for readers.
        values: of each model, in percent; NaN if undefined.
        intervals: the differences of all models but the first to the first; None where there is none.
    """

    caption: str
    meaning: str
    values: list[float]
    intervals: list[Interval | None]


def list_scores(models: Sequence[EvaluatedModel], changes: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the scores that at least one model has.

    Args:
        models: at least one; the first is the baseline.
        changes: of each other model the changes of average precision, see `InstanceComparison.compute`.
    """
    rows = []
    for score in SCORES:
        values = [model.get_score(score.task, score.metric) for model in models]
        if all(math.isnan(value) for value in values):
            continue
        intervals = [
            _find_interval(score, models[0], model, change) for model, change in zip(models[1:], changes, strict=True)
        ]
        rows.append(Row(score.caption, score.meaning, values, intervals))
    return rows


def list_sizes(models: Sequence[EvaluatedModel]) -> list[Row]:
    """Return the average precision of small, medium and large objects."""
    task = "segm" if any("segm" in model.tasks for model in models) else "bbox"
    rows = [
        Row(caption, meaning, [model.get_score(task, metric) for model in models], [])
        for caption, (metric, meaning) in SIZES.items()
    ]
    return [row for row in rows if not all(map(math.isnan, row.values))]


def list_steps(model: EvaluatedModel) -> list[dict[str, Any]]:
    """Return the scores of a model's predictions before each of its steps, fusion and wrapper heads, and at the end."""
    steps = {"unfused": "fusion", **earlier_predictions()}
    rows = []
    for task, metric, caption in (
        ("sem_seg", "mIoU", "mIoU"),
        ("sem_seg", "pACC", "pixels right"),
        ("segm", "AP", "mask AP"),
    ):
        end = model.get_score(task, metric)
        for name, step in steps.items():
            before = model.get_score(f"{task}_{name}", metric)
            if not math.isnan(before):
                rows.append({"caption": caption, "step": step, "before": before, "end": end, "gain": end - before})
    return rows


def list_class_rows(models: Sequence[EvaluatedModel]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the captions of the columns and, for each class, the scores of each model and its counts of segments."""
    columns = {"IoU": ("sem_seg", "IoU"), "mask AP": ("segm", "AP"), "box AP": ("bbox", "AP")}
    if any("segm" in model.tasks for model in models):
        del columns["box AP"]
    columns |= {name: ("panoptic_seg", name) for name in ("PQ", "SQ", "RQ")}
    columns = {caption: key for caption, key in columns.items() if any(key[0] in model.tasks for model in models)}
    names = dict.fromkeys(
        name
        for task, metric in columns.values()
        for m in models
        for name in list_classes(m.tasks.get(task, {}), (metric,))
    )
    rows = []
    for name in names:
        scores = {
            caption: [model.get_score(task, f"{metric}-{name}") for model in models]
            for caption, (task, metric) in columns.items()
        }
        rows.append({"name": name, "scores": scores, "counts": [_count_segments(model, name) for model in models]})
    return list(columns), rows


def _count_segments(model: EvaluatedModel, name: str) -> list[int]:
    """Return the true positives, false positives and false negatives of a class; [] without panoptic scores."""
    if model.panoptic is None or name not in model.panoptic.class_names:
        return []
    index = model.panoptic.class_names.index(name)
    return [int(value) for value in model.panoptic.per_image[:, 1:, index].sum(axis=0)]


def list_confusions(model: EvaluatedModel) -> list[dict[str, Any]]:
    """Return the pairs of classes with most wrong pixels: (percent of the class, percent of all wrong pixels)."""
    if model.semantic is None:
        return []
    wrong = model.semantic.confusion.copy()
    np.fill_diagonal(wrong, 0)
    labeled, total = model.semantic.confusion.sum(axis=1), wrong.sum()
    names = model.semantic.class_names
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [tuple(int(i) for i in np.unravel_index(place, wrong.shape)) for place in order]
    return [
        {
            "class": names[true],
            "taken_for": names[found],
            "of_class": 100 * wrong[true, found] / labeled[true],
            "of_wrong": 100 * wrong[true, found] / total,
        }
        for true, found in pairs
        if wrong[true, found]
    ]


def list_segment_errors(models: Sequence[EvaluatedModel]) -> list[dict[str, Any]]:
    """Return the kinds of errors of segments: the points of PQ they cost and their numbers, of each model."""
    with_panoptic = [model.panoptic for model in models if model.panoptic is not None]
    if len(with_panoptic) < len(models):
        return []
    lost = [compute_lost_quality(each.errors, PanopticMatches(*each.per_image.sum(axis=0))) for each in with_panoptic]
    rows = [
        {
            "kind": kind,
            "meaning": KIND_MEANINGS[kind],
            "lost": [float(points[index]) for points in lost],
            "numbers": [[int(n) for n in each.errors[index].sum(axis=1)] for each in with_panoptic],
        }
        for index, kind in enumerate(KINDS)
    ]
    meaning = "what PQ would gain if all matched segments had an IoU of 1"
    return [
        *rows,
        {"kind": OUTLINES, "meaning": meaning, "lost": [float(points[-1]) for points in lost], "numbers": []},
    ]


def list_detection_errors(models: Sequence[EvaluatedModel]) -> list[dict[str, Any]]:
    """Return TIDE's kinds of errors: the points of AP50 they cost and their numbers, of each model."""
    diagnoses = [model.instances.diagnosis["errors"] for model in models if model.instances is not None]
    if len(diagnoses) < len(models):
        return []
    return [
        {
            "kind": caption,
            "meaning": meaning,
            "lost": [each[kind]["AP50_lost"] for each in diagnoses],
            "numbers": [[each[kind]["number"]] for each in diagnoses],
        }
        for kind, (caption, meaning) in DETECTION_ERRORS.items()
    ]


def _find_interval(
    score: Score, before: EvaluatedModel, after: EvaluatedModel, changes: Mapping[str, Mapping[str, ScoreChange]]
) -> Interval | None:
    """Return the difference of a score with its 95 % interval over the images; None for scores without one."""
    if score.task in changes and score.metric in changes[score.task]:
        change = changes[score.task][score.metric]
        return None if math.isnan(change.margin) else _spread(change)
    sides: list[SemanticCounts | PanopticCounts | None] = []
    measure = compute_mean_iou
    if (score.task, score.metric) == ("sem_seg", "mIoU"):
        sides = [before.semantic, after.semantic]
    elif (score.task, score.metric) == ("panoptic_seg", "PQ"):
        sides, measure = [before.panoptic, after.panoptic], compute_mean_pq
    counts = [side for side in sides if side is not None]
    if len(counts) < 2 or counts[0].image_ids != counts[1].image_ids:
        return None
    return bootstrap_difference(counts[1].per_image[None], counts[0].per_image[None], measure, RESAMPLES)


def _spread(change: ScoreChange) -> Interval:
    return Interval(change.gain, change.gain - change.margin, change.gain + change.margin)
