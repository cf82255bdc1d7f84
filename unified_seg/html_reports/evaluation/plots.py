"""Plots of an evaluation, as SVG documents; several models are drawn into one plot.

K = classes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from unified_seg.evaluation.confusion_axes import draw_percentages, name_classes
from unified_seg.html_reports.evaluation.files import EvaluatedModel, SemanticCounts
from unified_seg.html_reports.figures import COLORS, HEIGHT, WIDTH, add_axes, draw_figures
from unified_seg.ops.metrics.calibration import Bin, bin_levels, compute_calibration_error
from unified_seg_files import escape_unprintable

# With more classes the cells of a confusion matrix have no room for numbers.
_MOST_NUMBERED = 30
_LINES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv"


def draw_evaluation(
    models: Sequence[EvaluatedModel], image_scores: Mapping[str, Sequence[float]], caption: str
) -> dict[str, str]:
    """Draw what the models have of: image scores, segments by size, precision over recall, calibration.

    Args:
        models: at least one.
        image_scores: of all images, by the name of the model, in percent.
        caption: what the image scores are.
    """
    figures: dict[str, Callable[[], Figure]] = {}
    if any(image_scores.values()):
        figures[f"Images by their {caption}"] = lambda: _draw_histogram(image_scores, caption)
    if any(m.panoptic is not None and len(m.panoptic.areas) for m in models):
        figures["Segments found, by their area in the ground truth"] = lambda: _draw_sizes(models)
    if any(m.instances is not None for m in models):
        figures["Precision over recall of instances, the mean over the classes"] = lambda: _draw_curves(models)
    for what, title, find_bins in (
        ("detection", "Calibration of detections", _bin_scores),
        ("pixel", "Calibration of the semantic map", _bin_confidences),
    ):
        bins_of = {model.name: bins for model in models if (bins := find_bins(model))}
        if bins_of:
            figures[f"{title}: overconfident below the diagonal"] = partial(_draw_calibration, bins_of, what)
    return draw_figures(figures)


def draw_confusion(counts: SemanticCounts, title: str) -> dict[str, str]:
    """Draw the confusion matrix with confused classes beside each other, see `order_by_confusion`, by its title."""
    return draw_figures({title: lambda: _draw_confusion(counts)})


def order_by_confusion(confusion: np.ndarray) -> list[int]:
    """Return the K classes in an order in which those that are confused often are neighbors.

    It is the order of the leaves of an average-linkage clustering, in which the distance of two classes is 1 - the
    share of their pixels that are taken for each other.
    """
    if len(confusion) < 3:
        return list(range(len(confusion)))
    rates = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    distance = 1 - (rates + rates.T) / 2
    np.fill_diagonal(distance, 0)
    condensed = squareform(np.clip(distance, 0, 1), checks=False)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed)).tolist()


def _draw_histogram(image_scores: Mapping[str, Sequence[float]], caption: str) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    edges = np.linspace(0, 100, 21).tolist()
    for (name, scores), color, line in zip(image_scores.items(), cycle(COLORS), cycle(_LINES)):
        values = [score for score in scores if not math.isnan(score)]
        if len(image_scores) == 1:
            axes.hist(values, edges, color=color, edgecolor="white", linewidth=0.6)
        else:
            label = escape_unprintable(name)
            axes.hist(values, edges, histtype="step", color=color, linestyle=line, linewidth=1.6, label=label)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"{caption} of the image, %")
    axes.set_ylabel("images")
    _add_legend(figure, len(image_scores))
    return figure


def _draw_sizes(models: Sequence[EvaluatedModel]) -> Figure:
    """Draw the share of the segments that are found, by powers of four of their area."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    for model, color, marker in zip(models, cycle(COLORS), cycle(_MARKERS)):
        if model.panoptic is None or not len(model.panoptic.areas):
            continue
        level = np.floor(np.log2(np.maximum(model.panoptic.areas, 1)) / 2).astype(int)
        number = np.bincount(level)
        found = np.bincount(level, weights=model.panoptic.iou > 0)
        shown = np.flatnonzero(number)
        label = escape_unprintable(model.name)
        axes.plot(shown, 100 * found[shown] / number[shown], color=color, marker=marker, label=label)
        if len(models) == 1:
            for x in shown.tolist():
                offset = (0, 6) if found[x] < 0.85 * number[x] else (0, -14)
                point = (x, 100 * found[x] / number[x])
                axes.annotate(f"{number[x]:,}", point, offset, textcoords="offset points", ha="center", size=7)
        axes.set_xticks(shown, [f"{2**x}²" for x in shown.tolist()])
    axes.set_ylim(0, 105)
    axes.set_xlabel("at least this area (pixels)" + ("; numbers: segments" if len(models) == 1 else ""))
    axes.set_ylabel("found, %")
    _add_legend(figure, len(models))
    return figure


def _draw_curves(models: Sequence[EvaluatedModel]) -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    for model, color in zip(models, cycle(COLORS)):
        if model.instances is None:
            continue
        curves = model.instances.diagnosis["precision_recall"]
        for (metric, words), line in zip((("AP50", "IoU 0.5"), ("AP75", "IoU 0.75")), _LINES):
            label = words if len(models) == 1 else f"{escape_unprintable(model.name)}, {words}"
            axes.plot(curves["recall"], curves[metric], color=color, linestyle=line, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    _add_legend(figure, 2)
    return figure


def _bin_scores(model: EvaluatedModel) -> list[Bin]:
    """Return the bins of the scores of detections."""
    calibration = model.instances.diagnosis["calibration"] if model.instances is not None else None
    bins = []
    for each in calibration["bins"] if calibration else []:
        low, high = each["score"]
        bins.append(Bin(low, high, each["mean_score"], each["precision"], each["detections"]))
    return bins


def _bin_confidences(model: EvaluatedModel) -> list[Bin]:
    """Return the bins of the confidences of pixels."""
    counts = model.semantic.confidences if model.semantic is not None else None
    return [] if counts is None else bin_levels(counts)


def _draw_calibration(bins_of: Mapping[str, Sequence[Bin]], what: str) -> Figure:
    """Draw how often predictions of a confidence are right.

    Args:
        bins_of: by the name of the model; with one model also how many predictions are in each.
        what: has the confidence, such as "pixel".
    """
    figure = Figure(figsize=(WIDTH, HEIGHT))
    (axes,) = add_axes(figure)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for (name, bins), color, marker in zip(bins_of.items(), cycle(COLORS), cycle(_MARKERS)):
        label = f"{escape_unprintable(name)}, expected error {100 * compute_calibration_error(bins):.1f} %"
        confidences, accuracies = [each.confidence for each in bins], [each.accuracy for each in bins]
        axes.plot(confidences, accuracies, color=color, marker=marker, label=label)
        if len(bins_of) == 1:
            largest = max(each.number for each in bins)
            for each in bins:
                width = 0.9 * (each.high - each.low)
                axes.bar((each.low + each.high) / 2, 0.25 * each.number / largest, width, color="0.85", zorder=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"confidence of the {what}" + (f"; gray: how many {what}s" if len(bins_of) == 1 else ""))
    axes.set_ylabel("share that is right")
    _add_legend(figure, 2)
    return figure


def _add_legend(figure: Figure, num_entries: int) -> None:
    (axes,) = figure.axes
    if num_entries > 1:
        for text in axes.legend(frameon=False, fontsize=8).get_texts():
            text.set_parse_math(False)  # dollar signs in names start no formula


def _draw_confusion(counts: SemanticCounts) -> Figure:
    occurs = (counts.confusion.sum(axis=0) + counts.confusion.sum(axis=1)) > 0
    chosen = np.flatnonzero(occurs)
    confusion = counts.confusion[np.ix_(chosen, chosen)]
    order = order_by_confusion(confusion)
    names = [escape_unprintable(counts.class_names[i]) for i in chosen[order].tolist()]
    labeled = confusion.sum(axis=1, keepdims=True)
    percent = (
        100 * np.divide(confusion, labeled, out=np.zeros(confusion.shape), where=labeled > 0)[np.ix_(order, order)]
    )
    side = min(12.0, max(2.5, 0.32 * len(names)))
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    draw_percentages(axes, percent, number_size=7 if len(names) <= _MOST_NUMBERED else 0)
    axes.set_aspect("equal")
    name_classes(axes, names, min(8.0, 72 * side / max(1, len(names))))
    return figure
