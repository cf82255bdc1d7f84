"""Do the runs of an ablation, and publish their scores."""

import argparse
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.problems import MissingFileError
from unified_seg.reporting.ablation import table
from unified_seg.reporting.ablation.archive import ARCHIVE, list_archived_seeds, pack_runs, unpack_runs
from unified_seg.reporting.ablation.execute import Executor
from unified_seg.reporting.ablation.image_data import check_images
from unified_seg.reporting.ablation.plan import AblationPlan, read_plan
from unified_seg.reporting.ablation.published import keep_published, list_seeds
from unified_seg.reporting.ablation.runs import plan_runs
from unified_seg.reporting.ablation.summary import summarize
from unified_seg.reporting.ablation.toyscapes_data import prepare_toyscapes
from unified_seg.reporting.readme import read_with_markers


def run(args: argparse.Namespace) -> None:
    """Run the tool.

    Raises:
        ReportingError, DataError: see `ablate` and `publish`.
    """
    project = args.root / "projects" / args.project
    if args.render_only:
        publish(project)
        return
    with exit_on_sigterm():
        ablate(args, project, Executor(args.root, args.train_script))


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn the SIGTERM of a job scheduler into SystemExit, so that the running training is ended too."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated; the same command continues from here"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ablate(args: argparse.Namespace, project: Path, executor: Executor) -> None:
    """Do the runs and publish the results after each.

    Raises:
        ReportingError, ConfigError, DataError: an error in the plan, the data or the README, before the first run.
        RunFailed: a run failed.
    """
    root = executor.root
    plan = read_plan(project / "ablation.yaml", root)
    seeds = args.seeds or list(plan.seeds)
    output = root / "output" / "ablation" / plan.project
    runs = plan_runs(plan, plan.order_rows(args.rows), seeds, output, root, args.device)
    if args.keep_published:
        elsewhere = sorted(list_archived_seeds(project / ARCHIVE))
        unpack_runs(
            project / ARCHIVE,
            plan_runs(plan, plan.order_rows(), elsewhere, output, root, args.device),
            plan.reported,
        )
    earlier = read_results(project) if args.keep_published else None
    # The table has all runs on this machine, not only those of this command, and those that were unpacked.
    published = sorted({*seeds, *find_seeds(plan, output), *(list_seeds(earlier) if earlier else ())})
    all_runs = plan_runs(plan, plan.order_rows(), published, output, root, args.device)
    read_with_markers(project / "README.md", table.MAIN)
    if plan.toyscapes is not None:
        prepare_toyscapes(plan.toyscapes, root)
    check_images(plan.images)

    def write_results() -> None:
        results = summarize(plan, all_runs, table.format_command(plan.project, published, args.device))
        if earlier is not None:
            results = keep_published(results, earlier)
        write_json(project / "results.json", results)
        pack_runs(project / ARCHIVE, all_runs, plan.reported)

    if earlier is not None:
        write_results()  # fails now, not after the runs, if published and new results can't be combined
    executor.run_all(runs, write_results)
    write_results()
    publish(project)


def find_seeds(plan: AblationPlan, output: Path) -> set[int]:
    """Return the seeds of all runs on disk."""
    folders = [folder.name for row in plan.rows for folder in (output / row.slug).glob("seed*")]
    return {int(match[1]) for name in folders if (match := re.fullmatch(r"seed(\d+)", name))}


def read_results(project: Path) -> dict[str, Any]:
    """Read the published results; raises DataError if there are none."""
    try:
        return read_json(project / "results.json")
    except MissingFileError as error:
        raise MissingFileError(f"{error}; tools/ablate.py without options writes it") from None


def publish(project: Path) -> None:
    """Write the table of results.json into the README and print it."""
    results = read_results(project)
    readme = project / "README.md"
    table.write_tables(readme, results)
    print(f"\n{table.render_main(results)}\n\nwritten to {project / 'results.json'} and {readme}")
