#!/usr/bin/env python3
"""Train and evaluate every row and seed of a project's ablation, and put the table into the project's README.

What is done is skipped and what was interrupted goes on, so the same command is the way to continue. It reads
projects/<project>/ablation.yaml and writes projects/<project>/results.json and, between two markers, the README.

    python tools/ablate.py fusion_scheme                    # everything
    python tools/ablate.py fusion_scheme --seeds 0 --rows "+ ASP and RP"
    python tools/ablate.py fusion_scheme --render-only      # the README from results.json, nothing is run

It publishes what was run here. With --keep-published a row whose runs were made elsewhere stays in the table.
"""

import argparse
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unified_seg.data.io.text_files import read_json, write_json
from unified_seg.data.problems import MissingFileError
from unified_seg.reporting.ablation import table
from unified_seg.reporting.ablation.data import prepare_toyscapes
from unified_seg.reporting.ablation.execute import Executor, RunFailed
from unified_seg.reporting.ablation.plan import AblationPlan, read_plan
from unified_seg.reporting.ablation.published import keep_published, seeds_of
from unified_seg.reporting.ablation.runs import plan_runs
from unified_seg.reporting.ablation.summary import summarize
from unified_seg.reporting.readme import check_markers, markers, put_into

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, train_script: str = "tools/train_net.py") -> None:
    """The command. `root` and `train_script` (relative to it) are parameters for the tests alone."""
    args = parse(arguments)
    project = root / "projects" / args.project
    try:
        if args.render_only:
            publish(project)
        else:
            with ended_by_schedulers():
                ablate(args, project, Executor(root, Path(train_script)))
    except (ValueError, RunFailed) as error:
        sys.exit(f"ablate: {error}")
    except KeyboardInterrupt:
        sys.exit("\nablate: interrupted; the same command goes on from here")


@contextmanager
def ended_by_schedulers() -> Iterator[None]:
    """A job scheduler's SIGTERM is an exit within, so that no training outlives this process."""
    before = signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("ablate: terminated; the same command goes on from here")
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", help="a folder of projects/ that holds an ablation.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="default: those of ablation.yaml")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows and their bases; default: all")
    parser.add_argument("--device", help="cpu or cuda; default: what the configs say")
    keep = "rows of results.json that have more seeds than were run here stay as they are"
    parser.add_argument("--keep-published", action="store_true", help=keep)
    parser.add_argument("--render-only", action="store_true", help="only write the README's table from results.json")
    return parser.parse_args(arguments)


def ablate(args: argparse.Namespace, project: Path, executor: Executor) -> None:
    """Do the runs, publishing the results after each.

    Raises:
        ValueError: whatever is wrong with the plan, the data or the README, before the first run.
        RunFailed: a run failed.
    """
    root = executor.root
    plan = read_plan(project / "ablation.yaml", root)
    seeds = args.seeds or list(plan.seeds)
    output = root / "output" / "ablation" / plan.project
    runs = plan_runs(plan, plan.in_order(args.rows), seeds, output, root, args.device)
    earlier = read_results(project) if args.keep_published else None
    # The table publishes every run that was made, also those that this command was not asked for.
    published = sorted({*seeds, *seeds_on_disk(plan, output), *(seeds_of(earlier) if earlier else ())})
    all_runs = plan_runs(plan, plan.in_order(), published, output, root, args.device)
    check_markers(project / "README.md", table.MAIN)
    if plan.toyscapes is not None:
        prepare_toyscapes(plan.toyscapes, root)

    def write_results() -> None:
        results = summarize(plan, all_runs, table.user_command(plan.project, published, args.device))
        if earlier is not None:
            results = keep_published(results, earlier)
        write_json(project / "results.json", results)

    if earlier is not None:
        write_results()  # says now whether the two can stand in one table
    executor.do_all(runs, write_results)
    write_results()
    publish(project)


def seeds_on_disk(plan: AblationPlan, output: Path) -> set[int]:
    """The seeds that some row was run with."""
    folders = [folder.name for row in plan.rows for folder in (output / row.slug).glob("seed*")]
    return {int(match[1]) for name in folders if (match := re.fullmatch(r"seed(\d+)", name))}


def read_results(project: Path) -> dict[str, Any]:
    try:
        return read_json(project / "results.json")
    except MissingFileError as error:
        raise ValueError(f"{error}; the command without options makes it") from None


def publish(project: Path) -> None:
    """Render results.json into the README and print it."""
    results = read_results(project)
    text, readme = table.render(results), project / "README.md"
    put_into(readme, text, table.MAIN)
    for name, render_more in ((table.CLASSES, table.render_classes), (table.LEVELS, table.render_levels)):
        if markers(name)[0] in readme.read_text(encoding="utf-8"):
            put_into(readme, render_more(results), name)
    print(f"\n{text}\n\nwritten to {project / 'results.json'} and {readme}")


if __name__ == "__main__":
    main()
