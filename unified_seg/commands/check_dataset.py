"""Check data sets, and report every problem."""

import argparse
from collections.abc import Sequence

from detectron2.data import DatasetCatalog
from tabulate import tabulate

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.io.image_reader import ImageReader
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import KINDS, Problem
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.dataset_statistics import ClassStatistics
from unified_seg.data.validation.survey import Survey, convert_surveys_to_json, survey_datasets
from unified_seg.html_reports.dataset.findings import compute_pixel_percent, describe_verdict, group_problems
from unified_seg.html_reports.dataset.report import write_report
from unified_seg_files import escape_unprintable


def find_datasets(args: argparse.Namespace) -> tuple[list[str], ImageReader]:
    """Return the data sets to check, and how their images are read.

    Raises:
        ConfigError: an unknown data set, or a config that can't be used.
    """
    if args.config_file:
        cfg = resolve_config(load_config(args.config_file, args.opts))
        return list(dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])), ImageReader.from_config(cfg)
    if unknown := [name for name in args.dataset if name not in DatasetCatalog.list()]:
        known = ", ".join(name for name in sorted(DatasetCatalog.list()) if name.startswith("unified_"))
        raise ConfigError(f"--dataset: unknown data set {', '.join(unknown)}; this project registers {known}")
    return list(dict.fromkeys(args.dataset)), ImageReader()


def describe(surveys: Sequence[Survey], show: int) -> str:
    """Format the problems by kind, and the classes of each data set."""
    parts = [_describe_kind(kind, problems, show) for kind, problems in group_problems(surveys).items()]
    return "\n\n".join([*parts, *map(_describe_classes, surveys)])


def _describe_kind(kind: str, problems: Sequence[Problem], show: int) -> str:
    title, fix, is_error = KINDS[kind]
    lines = [f"{title}: {len(problems)} {'error' if is_error else 'warning'}{'s' * (len(problems) != 1)}"]
    lines += [f"  {escape_unprintable(str(problem))} [{kind}]" for problem in problems[:show]]
    lines += [f"  and {len(problems) - show} more"] * (len(problems) > show)
    return "\n".join([*lines, f"  To fix: {fix}."])


def _describe_classes(survey: Survey) -> str:
    columns = {
        "class": lambda c: escape_unprintable(c.name),
        "% of pixels": lambda c: _number(compute_pixel_percent(c, survey.statistics), ".3f"),
        "images": lambda c: _number(c.images),
        "instances": lambda c: _number(c.instances),
        "crowds": lambda c: _number(c.crowds),
    }

    def row(cls: ClassStatistics) -> list[str]:
        return [cell(cls) for cell in columns.values()]

    alignment = ("left", *["right"] * (len(columns) - 1))
    table = tabulate(map(row, survey.statistics.classes), list(columns), disable_numparse=True, colalign=alignment)
    void = survey.statistics.void_share
    of_pixels = "" if void is None else f", {100 * void:.2f} % of the pixels are void"
    return f"{survey.name}: {len(survey.records):,} images{of_pixels}\n{table}"


def _number(value: float | None, form: str = ",") -> str:
    return "" if value is None else format(value, form)


def run(args: argparse.Namespace) -> int:
    """Check, report, and return the exit status."""
    names, reader = find_datasets(args)
    args.output.mkdir(parents=True, exist_ok=True)  # fails before the long reading, not after it
    surveys = survey_datasets(names, args.workers, reader)
    write_json(args.output / "problems.json", convert_surveys_to_json(surveys))
    write_report(args.output / "index.html", surveys)
    print(f"{describe(surveys, args.show)}\n\n{describe_verdict(surveys)}; see {args.output / 'index.html'}")
    return int(any(survey.num_errors or (args.strict and survey.problems) for survey in surveys))
