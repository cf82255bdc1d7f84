"""The results of an evaluation as text tables, for the log and for the console."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tqdm import tqdm

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


#: Metrics by class whose mean has another name.
MEANS = {"IoU": "mIoU"}
#: More classes than these are not listed on the console.
MAX_CLASSES = 30
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
            parts.append(f"{name}, by class\n{format_table(*_make_class_table(tasks))}")
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


def print_results(results: Results, notes: Mapping[str, Sequence[str]] | None = None, *, brief: bool = False) -> None:
    """Print a summary of the scores, and write all tables to the log file, see `format_results`.

    Args:
        results, notes: see `format_results`.
        brief: print a line of each data set alone, without a table and notes.
    """
    logger.debug("scores\n%s", format_results(results, notes))
    text = "\n".join(map(format_headlines, results, results.values())) if brief else format_summary(results, notes)
    tqdm.write(escape_unprintable(text, keep="\n"))  # above the bar of a training


def format_summary(results: Results, notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return, of each data set, its headline scores in a line, the notes, and one table by class.

    The table begins with the means over the classes; more than MAX_CLASSES classes are left out.

    Args:
        results, notes: see `format_results`.
    """
    parts = []
    for name, tasks in results.items():
        parts.append("\n".join([format_headlines(name, tasks), *(notes or {}).get(name, ())]))
        if any(tasks.values()):
            headers, rows = _make_class_table(tasks)
            if len(rows) > MAX_CLASSES:
                headers[0], rows = f"{len(rows)} classes, each in log.txt", []
            parts.append(format_table(headers, [_make_row_of_means(tasks), *rows]))
    return "\n\n".join(parts)


def format_headlines(name: str, tasks: Tasks) -> str:
    """Return the headline scores of a data set in one line."""
    scores = [
        f"{column.caption} {_format_headline(tasks[column.task][column.metric])}"
        for column in _add_earlier(HEADLINES, tasks)
        if column.metric in tasks.get(column.task, {})
    ]
    return f"{name}: {', '.join(scores) or 'no scores'}"


def _make_class_table(tasks: Tasks) -> tuple[list[str], list[list[str]]]:
    """Return the headers of the table by class and a row of each class."""
    columns = _find_class_columns(tasks)
    names = dict.fromkeys(name for column in columns for name in list_classes(tasks[column.task], (column.metric,)))
    rows = [
        [name, *(format_cell(tasks[column.task].get(f"{column.metric}-{name}")) for column in columns)]
        for name in names
    ]
    return ["class", *(column.caption for column in columns)], rows


def _make_row_of_means(tasks: Tasks) -> list[str]:
    """Return the row of the means over the classes, for the table by class."""
    means = (tasks[column.task].get(MEANS.get(column.metric, column.metric)) for column in _find_class_columns(tasks))
    return ["mean of all", *map(format_cell, means)]


def _find_class_columns(tasks: Tasks) -> list[Column]:
    """Return the columns of the table by class for which there are scores."""
    return [
        column
        for column in _add_earlier(CLASS_COLUMNS, tasks)
        if list_classes(tasks.get(column.task, {}), (column.metric,))
    ]


def _add_earlier(columns: Sequence[Column], tasks: Iterable[str]) -> list[Column]:
    """Return the columns, each followed by those of the earlier predictions that it shows."""
    tasks, added = list(dict.fromkeys(tasks)), []
    for caption, task, metric, shows_earlier in columns:
        added.append(Column(caption, task, metric))
        prefix = f"{task}_"
        earlier = [each.removeprefix(prefix) for each in tasks if shows_earlier and each.startswith(prefix)]
        added += [Column(f"{caption} {name}", prefix + name, metric) for name in earlier]
    return added
