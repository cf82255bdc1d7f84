"""The results of an evaluation as text tables."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from unified_seg.config.heads import score_tables
from unified_seg.evaluation.results.file import Results
from unified_seg.evaluation.tables import (
    format_cell,
    format_error_table,
    format_recognition_table,
    format_table,
    list_classes,
)
from unified_seg.words import join_some
from unified_seg_files import escape_unprintable

logger = logging.getLogger(__name__)

Tasks = Mapping[str, Mapping[str, float]]  # task -> metric -> percent


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        caption: of the column.
        task, metric: what it shows; in the table of classes, the metric `<metric>-<class>`.
        shows_earlier: whether columns of the same metric of each task `<task>_<earlier>`, an earlier prediction of the
            same model such as "sem_seg_unfused", follow it.
    """

    caption: str
    task: str
    metric: str
    shows_earlier: bool = False


HEADLINES = (
    Column("mIoU", "sem_seg", "mIoU", shows_earlier=True),
    Column("mIoU categories", "sem_seg", "mIoU_category"),
    Column("pACC", "sem_seg", "pACC"),
    Column("box AP", "bbox", "AP"),
    Column("mask AP", "segm", "AP", shows_earlier=True),
    Column("mask AP50", "segm", "AP50"),
    Column("Cityscapes AP", "cityscapes_instances", "AP"),
    Column("PQ", "panoptic_seg", "PQ"),
    Column("SQ", "panoptic_seg", "SQ"),
    Column("RQ", "panoptic_seg", "RQ"),
    Column("PQ things", "panoptic_seg", "PQ_th"),
    Column("PQ stuff", "panoptic_seg", "PQ_st"),
)
CLASS_COLUMNS = (
    Column("IoU", "sem_seg", "IoU", shows_earlier=True),
    Column("box AP", "bbox", "AP"),
    Column("mask AP", "segm", "AP", shows_earlier=True),
    Column("Cityscapes AP", "cityscapes_instances", "AP"),
    Column("PQ", "panoptic_seg", "PQ"),
    Column("SQ", "panoptic_seg", "SQ"),
    Column("RQ", "panoptic_seg", "RQ"),
)
#: Tasks with a table of their own, and what formats it with its title; heads declare more in `score_tables`.
TASK_TABLES: dict[str, Callable[[Mapping[str, float]], str]] = {
    "errors_bbox": format_error_table,
    "errors_segm": format_error_table,
    "recognition": format_recognition_table,
}


#: Undefined scores of a task that a note names.
MAX_UNDEFINED = 6


def format_results(results: Results, notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a table with a row of headline scores per data set, then notes, then the tables of each data set.

    These are one by class, those of instance errors and of recognition, and those that the heads declare. A data set
    without scores, whose predictions were only exported, has only its row. A headline score that is undefined is NaN,
    and one that was not computed is a dash; by class both are a dash.

    Args:
        results: data set -> task -> metric -> percent.
        notes: lines for the reader of the scores, by data set.
    """
    columns = [
        column
        for column in _add_earlier(HEADLINES, (task for tasks in results.values() for task in tasks))
        if any(column.metric in tasks.get(column.task, {}) for tasks in results.values())
    ]
    rows = [
        [name, *(_format_headline(tasks.get(column.task, {}).get(column.metric)) for column in columns)]
        for name, tasks in results.items()
    ]
    parts = [format_table(["data set", *(column.caption for column in columns)], rows)]
    lines = [f"{name}: {note}" for name, of_dataset in (notes or {}).items() for note in of_dataset]
    if lines:
        parts.append("\n".join(lines))
    for name, tasks in results.items():
        if any(tasks.values()):
            parts.append(f"{name}, by class\n{_format_class_table(tasks)}")
        parts += [
            f"{name}, {format_scores(tasks[task])}"
            for task, format_scores in {**TASK_TABLES, **score_tables()}.items()
            if task in tasks
        ]
    return "\n\n".join(parts)


def _format_headline(value: float | None) -> str:
    return "NaN" if value is not None and math.isnan(value) else format_cell(value)


def describe_undefined(tasks: Tasks) -> str:
    """Return a line that names the scores that are NaN; "" if there are none."""
    parts = []
    for task, scores in tasks.items():
        undefined = [metric for metric, value in scores.items() if math.isnan(value)]
        if undefined:
            parts.append(f"{task} {join_some(undefined, MAX_UNDEFINED)}")
    return f"undefined (NaN), without ground truth to count: {'; '.join(parts)}" if parts else ""


def print_results(results: Results, notes: Mapping[str, Sequence[str]] | None = None) -> None:
    """Print `format_results`, and log it for the log file."""
    text = format_results(results, notes)
    print(escape_unprintable(text, keep="\n"))
    logger.debug("scores\n%s", text)


def _format_class_table(tasks: Tasks) -> str:
    columns = [
        column
        for column in _add_earlier(CLASS_COLUMNS, tasks)
        if list_classes(tasks.get(column.task, {}), (column.metric,))
    ]
    names = dict.fromkeys(name for column in columns for name in list_classes(tasks[column.task], (column.metric,)))
    rows = [
        [name, *(format_cell(tasks[column.task].get(f"{column.metric}-{name}")) for column in columns)]
        for name in names
    ]
    return format_table(["class", *(column.caption for column in columns)], rows)


def _add_earlier(columns: Sequence[Column], tasks: Iterable[str]) -> list[Column]:
    """Return the columns, each followed by those of the earlier predictions that it shows."""
    tasks, added = list(dict.fromkeys(tasks)), []
    for caption, task, metric, shows_earlier in columns:
        added.append(Column(caption, task, metric))
        prefix = f"{task}_"
        earlier = [each.removeprefix(prefix) for each in tasks if shows_earlier and each.startswith(prefix)]
        added += [Column(f"{caption} {name}", prefix + name, metric) for name in earlier]
    return added
