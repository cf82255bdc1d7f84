"""Execute the runs of an ablation one after another: skip finished ones, resume an interrupted one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from unified_seg.errors import UserError
from unified_seg.evaluation.results import get_versions, name_machine
from unified_seg.reporting.ablation.run_files import RESULTS, RunRecord, read_record, read_results, write_record
from unified_seg.reporting.ablation.runs import Run, State
from unified_seg.training.lifecycle.metrics_file import METRICS_FILE
from unified_seg.training.run_setup import prepare_output_folder
from unified_seg.words import join_some
from unified_seg_files import escape_unprintable

LOG = "ablation_log.txt"
LOG_TAIL_LINES = 25
POLL_SECONDS = 0.5
END_SECONDS = 10  # that a run gets to end by itself when this process is interrupted


class RunFailed(UserError, RuntimeError):
    """A run ended with an error; the message holds the end of its log and the log's path."""


@dataclass(frozen=True)
class Executor:
    """The process that starts the runs.

    Attributes:
        root: the root of the repository, in which runs are started.
        train_script: tools/train_net.py, relative to root, or one with the same arguments and output files.
    """

    root: Path
    train_script: Path

    def run_all(self, runs: Sequence[Run], after_each: Callable[[], None] = lambda: None) -> None:
        """Execute every run that is not finished, with a progress bar over the runs.

        Args:
            runs: bases before their users.
            after_each: called after each run that was executed.

        Raises:
            RunFailed: at the end, if runs failed; all others are done, but for those whose base failed.
        """
        failures: dict[Path, str] = {}
        with tqdm(total=len(runs), unit="run", desc="ablation") as progress:
            for run in runs:
                progress.set_description(str(run))
                progress.set_postfix_str("")
                if run.base in failures:
                    failures[run.folder] = f"{run}: not run, since its base failed"
                elif run.find_state() is not State.FINISHED:
                    try:
                        self.run_one(run, progress.set_postfix_str)
                    except RunFailed as error:
                        failures[run.folder] = str(error)
                        tqdm.write(escape_unprintable(str(error).partition("\n")[0] + "; going on with the others"))
                    else:
                        after_each()
                progress.update()
        if failures:
            raise RunFailed("\n\n".join(failures.values()))

    def run_one(self, run: Run, show: Callable[[str], object] = lambda words: None) -> None:
        """Execute one run, or resume it if it was interrupted; `show` is called with its progress in words."""
        state = run.find_state()
        if state is State.DIFFERENT:
            renamed = run.set_aside()
            note = f"{run}: {run.folder} held another run, renamed to {renamed.name} ({_explain(run, renamed)})"
            tqdm.write(escape_unprintable(note))
        earlier = read_record(run.folder) if state is State.INTERRUPTED else None
        prepare_output_folder(run.folder)
        record = self._create_record(run, earlier)
        write_record(run.folder, record)
        started = time.monotonic()
        try:
            code = self._start_and_wait(run, record.command, show)
            if code == 0 and not (run.folder / RESULTS).is_file():
                raise RunFailed(f"{run}: ended without writing {run.folder / RESULTS}{_quote_log(run)}")
            if code != 0:
                raise RunFailed(f"{run}: ended with exit status {code}{_quote_log(run)}")
            # To the microsecond, so that no two runs share it.
            record.finished = datetime.now().astimezone().isoformat()
        finally:
            record.seconds[-1] = time.monotonic() - started
            if record.finished is not None:
                record.train_s = _measure_training(run, record.seconds)
            write_record(run.folder, record)

    def _create_record(self, run: Run, earlier: RunRecord | None) -> RunRecord:
        """Return the record of a run that starts now, or goes on from an earlier start."""
        return RunRecord(
            row=run.row.name,
            seed=run.seed,
            command=run.build_command(sys.executable, self.train_script, resume=earlier is not None),
            config=dict(run.config),
            base_finished=run.find_base_time(),
            machine=f"{name_machine()}, MODEL.DEVICE {run.config['MODEL.DEVICE']}",
            versions=get_versions(),
            commit=find_commit(self.root),
            seconds=[*(earlier.seconds if earlier else []), None],
        )

    def _start_and_wait(self, run: Run, command: Sequence[str], show: Callable[[str], object]) -> int:
        """Return the exit status of the command; end it if this process is interrupted."""
        with (run.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            process = subprocess.Popen(command, cwd=self.root, stdout=log, stderr=subprocess.STDOUT)
            shown = ""
            try:
                while True:
                    try:
                        return process.wait(POLL_SECONDS)
                    except subprocess.TimeoutExpired:
                        if (words := _describe_progress(run)) != shown:
                            shown = words
                            show(words)
            finally:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(END_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


def find_commit(root: Path) -> str:
    """Return the commit that `root` is at, with "+changes" if tracked files differ from it; "unknown" outside git.

    Results, runs and READMEs below projects/ do not count as changes: an ablation writes them itself.
    """
    commit = _run_git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    written_by_tools = [f":!projects/*/{name}" for name in ("results.json", "runs.zip", "README.md")]
    changes = _run_git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *written_by_tools)
    return f"{commit}+changes" if changes else commit


def _run_git(root: Path, *arguments: str) -> str | None:
    try:
        finished = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return finished.stdout.strip()


def _explain(run: Run, folder: Path) -> str:
    """Return in words why a folder holds another run."""
    record = read_record(folder)
    if record is None:
        return "it has no record of an ablation"
    return join_some(run.list_differences(record), 3, "; ")


def _measure_training(run: Run, seconds: Sequence[float | None]) -> float | None:
    """Return the seconds of training: those that the run measured, or by the clock without the evaluation.

    Returns:
        0 for a row that is only evaluated; None if a part of the time is not known.
    """
    if run.row.kind == "evaluate":
        return 0.0
    results = read_results(run.folder)
    if len(seconds) == 1 and results.train_s is not None:
        return results.train_s
    known = [part for part in seconds if part is not None]
    return sum(known) - results.eval_s if len(known) == len(seconds) else None


def _describe_progress(run: Run) -> str:
    """Return the last iteration that is in the metrics.json of the run's latest training."""
    budget = sum(iterations for _, iterations in run.trainings)
    before = budget
    for folder, iterations in reversed(run.trainings):
        before -= iterations
        if (completed := _count_iterations(folder / METRICS_FILE)) is not None:
            return f"iteration {before + completed}/{budget}" if before + completed < budget else "evaluating"
    return "starting"


def _count_iterations(path: Path) -> int | None:
    """Return how many iterations a metrics.json holds; None if there is no such file, or its last line is not whole."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536), os.SEEK_SET)
            return json.loads(file.read().rstrip().rsplit(b"\n", 1)[-1])["iteration"] + 1
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _quote_log(run: Run) -> str:
    path = run.folder / LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n" + "\n".join(f"  | {line}" for line in lines) + f"\nthe whole log: {path}"
