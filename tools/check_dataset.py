#!/usr/bin/env python3
"""Check data sets as a linter checks code: everything is read once, and all that is wrong is said, with how to fix it.

    python tools/check_dataset.py --config-file configs/toyscapes/unified_demo.yaml --output output/check
    python tools/check_dataset.py --dataset unified_cityscapes_train unified_cityscapes_val --output output/check

The problems are printed. The folder of --output gets all of them in problems.json, with statistics of classes and
sizes, and index.html, a page with plots and pictures of what is wrong. The exit code is 0 without errors, 1 with
errors, and 2 where the data sets could not be checked.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog
from tabulate import tabulate

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import KINDS, DataError, Problem, escape_unprintable
from unified_seg.data.resolve import resolve_config
from unified_seg.data.validation.dataset_statistics import ClassStatistics
from unified_seg.data.validation.survey import Survey, as_json, survey_datasets
from unified_seg.reporting.dataset_report.report import percent_of_pixels, problems_by_kind, verdict_of, write_report

FAILED = 2


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config-file", metavar="FILE", help="check its DATASETS.TRAIN and DATASETS.TEST")
    which.add_argument("--dataset", nargs="+", metavar="NAME", help="check these registered data sets")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="for problems.json and index.html")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one for each CPU)"
    )
    parser.add_argument("--show", type=int, default=20, metavar="N", help="problems of a kind to print (20)")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config overrides")
    args = parser.parse_args(arguments)
    if args.workers < 0 or args.show < 0:
        parser.error("--workers and --show are 0 or more")
    if args.dataset and args.opts:
        parser.error("KEY VALUE goes with --config-file")
    return args


def dataset_names(args: argparse.Namespace) -> list[str]:
    """The data sets to check; raises ConfigError for what is none, or a config that can't be used."""
    if args.config_file:
        cfg = resolve_config(load_config(args.config_file, args.opts))
        return list(dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]))
    if unknown := [name for name in args.dataset if name not in DatasetCatalog.list()]:
        known = ", ".join(name for name in sorted(DatasetCatalog.list()) if name.startswith("unified_"))
        raise ConfigError(f"there is no data set {', '.join(unknown)}; this project's are {known}")
    return list(dict.fromkeys(args.dataset))


def describe(surveys: Sequence[Survey], show: int) -> str:
    """The problems by kind, and the classes of each data set."""
    parts = [_describe_kind(kind, problems, show) for kind, problems in problems_by_kind(surveys).items()]
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
        "% of pixels": lambda c: _number(percent_of_pixels(c, survey.statistics), ".3f"),
        "images": lambda c: _number(c.images),
        "instances": lambda c: _number(c.instances),
        "crowds": lambda c: _number(c.crowds),
    }

    def row(cls: ClassStatistics) -> list[str]:
        return [cell(cls) for cell in columns.values()]

    alignment = ("left", *["right"] * (len(columns) - 1))
    table = tabulate(map(row, survey.statistics.classes), list(columns), disable_numparse=True, colalign=alignment)
    return f"{survey.name}: {len(survey.records):,} images\n{table}"


def _number(value: float | None, form: str = ",") -> str:
    return "" if value is None else format(value, form)


def run(args: argparse.Namespace) -> int:
    """Check, report, and return the exit code."""
    names = dataset_names(args)
    args.output.mkdir(parents=True, exist_ok=True)  # an error of it should not come after all the reading
    surveys = survey_datasets(names, args.workers)
    write_json(args.output / "problems.json", as_json(surveys))
    write_report(args.output / "index.html", surveys)
    print(f"{describe(surveys, args.show)}\n\n{verdict_of(surveys)}; see {args.output / 'index.html'}")
    return int(any(survey.num_errors or (args.strict and survey.problems) for survey in surveys))


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    try:
        code = run(args)
    except (ConfigError, DataError, OSError) as error:
        # What a user can mend, without a traceback; OSError: a full disk, a folder that may not be written to.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = FAILED
    sys.exit(code)


if __name__ == "__main__":
    main()
