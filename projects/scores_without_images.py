#!/usr/bin/env python3
"""Print the scores of a project's published runs on all test images, and without some of them.

    python projects/scores_without_images.py fusion_scheme/cropweed --images 28

Means over the seeds, in percent, from the counts of each image in runs.zip. Image 28 of crop/weed is in both parts of
its official split.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tabulate import tabulate

from unified_seg.reporting.ablation.archive import ARCHIVE, list_archived_seeds, unpack_runs
from unified_seg.reporting.ablation.finished_run import FinishedRun, read_finished
from unified_seg.reporting.ablation.metrics import METRICS
from unified_seg.reporting.ablation.plan import AblationPlan, read_plan
from unified_seg.reporting.ablation.results.intervals import INTERVALS, find_file
from unified_seg.reporting.ablation.runs import plan_runs
from unified_seg.reporting.errors import ReportingError
from unified_seg_cli import ToolParser, run_tool
from unified_seg_files import escape_unprintable

ROOT = Path(__file__).resolve().parents[1]

RunsByRow = Mapping[str, Sequence[FinishedRun]]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument("project", metavar="PROJECT", help="a folder with runs.zip, below projects/")
    parser.add_argument("--images", required=True, nargs="+", metavar="ID", help="ids of the images to leave out")
    return parser.parse_args(arguments)


def print_scores(args: argparse.Namespace, root: Path) -> None:
    """Run the tool.

    Raises:
        ReportingError: there are no runs, or they can't be read, or have no such image.
    """
    project = root / "projects" / args.project
    plan = read_plan(project / "ablation.yaml", root)
    with tempfile.TemporaryDirectory() as folder:
        print(render_scores(unpack(project, plan, root, Path(folder)), plan.reported, args.images))


def unpack(project: Path, plan: AblationPlan, root: Path, folder: Path) -> RunsByRow:
    """Return the runs of each row of a project's archive, unpacked into an empty folder."""
    archive = project / ARCHIVE
    output = root / "output/ablation" / plan.project  # nothing is written there
    runs = plan_runs(plan, plan.order_rows(), list_archived_seeds(archive, plan.rows), output, root, None)
    unpacked, left_out = unpack_runs(archive, runs, plan.reported, folder)
    for each in left_out:
        print(escape_unprintable(each.reason))
    by_row: dict[str, list[FinishedRun]] = {}
    for run in unpacked.values():
        if (finished := read_finished(run)) is not None:
            by_row.setdefault(run.row.name, []).append(finished)
    if not by_row:
        raise ReportingError(f"{archive}: no finished runs in it; python tools/ablate.py {plan.project} makes them")
    return by_row


def render_scores(by_row: RunsByRow, dataset: str, left_out: Sequence[str]) -> str:
    """Return the table as text.

    Args:
        by_row: the runs of each row.
        dataset: the test set.
        left_out: ids of images.
    """
    names = [name for name in INTERVALS if any(_has_counts(runs, dataset, name) for runs in by_row.values())]
    headers = ["row", "seeds"]
    for name in names:
        headers += [METRICS[name].caption, f"{METRICS[name].caption} without {', '.join(left_out)}"]
    lines: list[list[str | int]] = []
    for row, runs in by_row.items():
        line: list[str | int] = [row, len(runs)]
        for name in names:
            score = partial(_mean_score, runs, dataset, name)
            line += [score(()), score(left_out)]
        lines.append(line)
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def _has_counts(runs: Sequence[FinishedRun], dataset: str, name: str) -> bool:
    return all(find_file(run, dataset, INTERVALS[name].file).is_file() for run in runs)


def _mean_score(runs: Sequence[FinishedRun], dataset: str, name: str, left_out: Sequence[str]) -> str:
    if not _has_counts(runs, dataset, name):
        return "–"
    return f"{statistics.fmean(INTERVALS[name].score_without(run, dataset, left_out) for run in runs):.2f}"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    run_tool(partial(print_scores, parse_args(arguments), root))


if __name__ == "__main__":
    main()
