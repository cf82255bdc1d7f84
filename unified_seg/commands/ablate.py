"""Do the runs of an ablation, and publish their scores."""

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import MissingFileError
from unified_seg.reporting.ablation.archive import (
    ARCHIVE,
    LeftOut,
    check_left_out,
    choose_archived,
    leave_out_needed_bases,
    list_archived_seeds,
    pack_runs,
    unpack_runs,
)
from unified_seg.reporting.ablation.execute import Executor
from unified_seg.reporting.ablation.image_data import check_images
from unified_seg.reporting.ablation.plan import AblationPlan, Row, read_plan
from unified_seg.reporting.ablation.results import table
from unified_seg.reporting.ablation.results.published import (
    RESULTS_FILE,
    check_kept,
    keep_published,
    list_seeds,
    read_published,
)
from unified_seg.reporting.ablation.results.summary import summarize
from unified_seg.reporting.ablation.runs import Run, plan_runs
from unified_seg.reporting.ablation.toyscapes_data import prepare_toyscapes
from unified_seg.reporting.readme import read_with_markers
from unified_seg_files import escape_unprintable


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
    root, archive = executor.root, project / ARCHIVE
    plan = read_plan(project / "ablation.yaml", root)
    seeds = args.seeds or list(plan.seeds)
    output = root / "output" / "ablation" / plan.project

    def make_runs(rows: Sequence[Row], seeds: Iterable[int]) -> list[Run]:
        return plan_runs(plan, rows, list(seeds), output, root, args.device)

    runs = make_runs(plan.order_rows(args.rows), seeds)
    published = read_published(project)
    earlier = published if args.keep_published else None
    archived_seeds = list_archived_seeds(archive, plan.rows) if args.keep_published else []
    read_with_markers(project / "README.md", table.MAIN)
    if plan.toyscapes is not None:
        prepare_toyscapes(plan.toyscapes, root)
    check_images(plan.images)
    with tempfile.TemporaryDirectory() as folder:
        archived: dict[Path, Run] = {}
        left_out: list[LeftOut] = []
        if args.keep_published:
            candidates = make_runs(plan.order_rows(), archived_seeds)
            unpacked, left_out = unpack_runs(archive, candidates, plan.reported, Path(folder))
            archived = leave_out_needed_bases(runs, unpacked)
            for each in left_out:
                print(escape_unprintable(each.reason))
        # The table has all runs on this machine, not only those of this command, and the archived ones.
        shown = sorted({*seeds, *find_seeds(plan, output), *archived_seeds, *(list_seeds(earlier) if earlier else ())})
        all_runs = make_runs(plan.order_rows(), shown)

        def choose_runs() -> list[Run]:
            chosen = choose_archived(all_runs, archived)
            return [chosen.get(run.folder, run) for run in all_runs]

        def make_results(of_table: Sequence[Run]) -> dict[str, Any]:
            results = summarize(plan, of_table)
            if earlier is not None:
                results = keep_published(results, earlier)
            used = sorted(list_seeds(results)) or shown
            return {"command": table.format_command(plan.project, used, args.device), **results}

        def write_results() -> None:
            of_table = choose_runs()
            write_json(project / RESULTS_FILE, make_results(of_table))
            pack_runs(archive, of_table, plan.reported)

        if published is not None:
            # Fails now, not after the runs, if old and new results can't be combined, or old ones would be lost.
            planned, results = {(run.row.name, run.seed) for run in runs}, make_results(choose_runs())
            check_kept(results, published, planned, project / RESULTS_FILE)
            check_left_out(left_out, results, planned)
        chosen = choose_archived(runs, archived)
        executor.run_all([run for run in runs if run.folder not in chosen], write_results)
        write_results()
    publish(project)


def find_seeds(plan: AblationPlan, output: Path) -> set[int]:
    """Return the seeds of all runs on disk."""
    folders = [folder.name for row in plan.rows for folder in (output / row.slug).glob("seed*")]
    return {int(match[1]) for name in folders if (match := re.fullmatch(r"seed(\d+)", name))}


def publish(project: Path) -> None:
    """Write the table of results.json into the README and print it; raises DataError if it can't be read."""
    results = read_published(project)
    if results is None:
        raise MissingFileError(f"{project / RESULTS_FILE}: no such file; tools/ablate.py without options writes it")
    readme = project / "README.md"
    table.write_tables(readme, results)
    print(f"\n{table.render_main(results)}\n\nwritten to {project / RESULTS_FILE} and {readme}")
