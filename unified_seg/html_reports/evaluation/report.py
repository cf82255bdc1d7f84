"""The report of an evaluation: one HTML page that needs no other file."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unified_seg.config.heads import score_tables
from unified_seg.evaluation.results.screen import TASK_TABLES
from unified_seg.html_reports.evaluation.files import EvaluatedModel
from unified_seg.html_reports.evaluation.findings import find_most_costly
from unified_seg.html_reports.evaluation.image_scores import (
    Columns,
    choose_changes,
    choose_images,
    find_main,
    rank_images,
    score_images,
)
from unified_seg.html_reports.evaluation.pictures import Case, draw_case
from unified_seg.html_reports.evaluation.plots import draw_confusion, draw_evaluation
from unified_seg.html_reports.evaluation.rows import (
    list_class_rows,
    list_confusions,
    list_detection_errors,
    list_scores,
    list_segment_errors,
    list_sizes,
    list_steps,
)
from unified_seg.html_reports.page import Picture, encode_svg, write_page
from unified_seg.structures.class_table import ClassTable

TEMPLATE = "evaluation/page.html.j2"
#: Images and suspicious labels that the page lists, those with the lowest and with the highest score.
MAX_IMAGES = 2_000
MAX_SUSPECTS = 20
TITLES = {"worst": "Worst", "median": "Median", "best": "Best", "loss": "Largest losses", "gain": "Largest gains"}

Record = dict[str, Any]
#: Returns the outputs of each model for each of some records.
Predict = Callable[[Sequence[Record]], Iterator[Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True)
class EvaluatedDataset:
    """A data set on which models were evaluated.

    Attributes:
        name: of the data set.
        records: all, in Detectron2's form.
        table: the classes of the models, with the dataset ids of the data set.
        models: one, or several to compare with the first.
        predict: predicts the images that the page shows once more.
        changes: of each model but the first the changes of average precision, see `InstanceComparison.compute`.
    """

    name: str
    records: Sequence[Record]
    table: ClassTable
    models: Sequence[EvaluatedModel]
    predict: Predict
    changes: Sequence[Mapping[str, Any]] = field(default=())


def write_report(path: Path, title: str, subtitle: str, datasets: Sequence[EvaluatedDataset]) -> None:
    """Write the page; a reader meanwhile finds the older one.

    Args:
        path: its folder is made if need be.
        title: such as "Evaluation of model_final.pth".
        subtitle: where the model comes from.
        datasets: at least one.

    Raises:
        DataError, OSError, ValueError: a file of the data set or the page can't be used.
    """
    parts = [_describe_dataset(dataset, f"set-{index}") for index, dataset in enumerate(datasets, start=1)]
    write_page(path, TEMPLATE, title=title, subtitle=subtitle, datasets=parts)


def _describe_dataset(dataset: EvaluatedDataset, anchor: str) -> dict[str, Any]:
    """Return what the template shows of a data set."""
    models = dataset.models
    names = [model.name for model in models]
    scores = [score_images(model) for model in models]
    main = find_main(scores)
    rankings = [rank_images(columns, main) for columns in scores]
    if len(models) == 1:
        chosen, shown_score = choose_images(rankings[0]), rankings[0]
    else:
        chosen, shown_score = choose_changes(rankings[0], rankings[-1])
    columns, classes = list_class_rows(models)
    confusions = [
        {
            "model": model.name,
            "rows": list_confusions(model),
            "plots": _encode_plots(draw_confusion(model.semantic, f"Percent of each row, {model.name}")),
        }
        for model in models
        if model.semantic is not None and model.semantic.confusion.any()
    ]
    values = {name: list(ranking.values()) for name, ranking in zip(names, rankings)}
    part = {
        "name": dataset.name,
        "anchor": anchor,
        "models": names,
        "num_images": max((len(column) for columns in scores for column in columns.values()), default=0),
        "main": main,
        "scores": list_scores(models, dataset.changes or [{}] * (len(models) - 1)),
        "groups": _draw_groups(dataset, chosen, shown_score, anchor),
        "columns": columns,
        "classes": [{**row, "color": _find_color(dataset.table, row["name"])} for row in classes],
        "segment_errors": list_segment_errors(models),
        "detection_errors": list_detection_errors(models),
        "sizes": list_sizes(models),
        "steps": list_steps(models[0]) if len(models) == 1 else [],
        "confusions": confusions,
        "plots": _encode_plots(draw_evaluation(models, values, main)),
        "images": _list_images(dataset, scores, main, chosen, anchor),
        "max_images": MAX_IMAGES,
        "suspects": _list_suspects(models[0]),
        "more": _format_more(models[0]) if len(models) == 1 else [],
    }
    return {**part, "findings": find_most_costly(part)}


def _draw_groups(
    dataset: EvaluatedDataset, chosen: Mapping[str, Sequence[Any]], scores: Mapping[Any, float], anchor: str
) -> list[dict[str, Any]]:
    """Draw the chosen images, by group such as the worst."""
    record_of = {record["image_id"]: record for record in dataset.records}
    file_of = _shorten_names(dataset.records)
    ids = [image_id for group in chosen.values() for image_id in group]
    names = [model.name for model in dataset.models]
    cases: dict[Any, Case] = {}
    outputs = dataset.predict([record_of[image_id] for image_id in ids])
    drawn = zip(ids, tqdm(outputs, "drawing the report", len(ids), unit="img", disable=None), strict=True)
    for image_id, of_image in drawn:
        cases[image_id] = draw_case(record_of[image_id], of_image, names, dataset.table)
    number = {image_id: index for index, image_id in enumerate(ids, start=1)}
    return [
        {
            "name": name,
            "title": TITLES[name],
            "cases": [
                {
                    "anchor": f"{anchor}-image-{number[i]}",
                    "file": file_of[i],
                    "score": scores[i],
                    "case": cases[i],
                }
                for i in group
            ],
        }
        for name, group in chosen.items()
    ]


def _list_images(
    dataset: EvaluatedDataset,
    scores: Sequence[Columns],
    main: str,
    chosen: Mapping[str, Sequence[Any]],
    anchor: str,
) -> dict[str, Any]:
    """Return a row for each image, lowest score first; of several models the main scores alone, and the change."""
    file_of = _shorten_names(dataset.records)
    number = {i: index for index, i in enumerate((i for group in chosen.values() for i in group), start=1)}
    columns, by = dict(scores[0]), scores[0].get(main, {})
    if len(scores) > 1:
        columns = {model.name: each.get(main, {}) for model, each in zip(dataset.models, scores)}
        last = scores[-1].get(main, {})
        by = columns["change"] = {i: last.get(i, math.nan) - score for i, score in by.items()}
    ids = sorted(by, key=lambda i: (math.isnan(by[i]), by[i]))
    return {
        "columns": list(columns),
        "total": len(ids),
        "rows": [
            {
                "file": file_of[i],
                "link": f"#{anchor}-image-{number[i]}" if i in number else "",
                "values": [column.get(i, math.nan) for column in columns.values()],
            }
            for i in ids[:MAX_IMAGES]
        ],
    }


def _shorten_names(records: Sequence[Record]) -> dict[Any, str]:
    """Return the file names by image id, without the folders that all images share."""
    files = {record["image_id"]: os.path.abspath(record["file_name"]) for record in records}
    common = os.path.commonpath([os.path.dirname(file) for file in files.values()])
    return {image_id: os.path.relpath(file, common) for image_id, file in files.items()}


def _list_suspects(model: EvaluatedModel) -> list[dict[str, Any]]:
    return [] if model.instances is None else model.instances.diagnosis["possible_label_errors"][:MAX_SUSPECTS]


def _format_more(model: EvaluatedModel) -> list[str]:
    """Return the text tables of the scores that heads declare, which no other part of the page shows."""
    own = {task: table for task, table in score_tables().items() if task not in TASK_TABLES}
    return [own[task](scores) for task, scores in model.tasks.items() if task in own]


def _encode_plots(documents: Mapping[str, str]) -> list[Picture]:
    return [Picture(encode_svg(svg), title) for title, svg in documents.items()]


def _find_color(table: ClassTable, name: str) -> tuple[int, int, int] | None:
    """Return the color of a class; None for a name that several things share."""
    return next((c.color for c in table.classes if c.name == name), None)
