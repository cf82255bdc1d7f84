"""Do the runs of an ablation one after another: skip what is done, go on where one was interrupted."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unified_seg.evaluation.results import machine, versions
from unified_seg.reporting.ablation.runs import LOG, RESULTS, Run, State, now, read_record, write_record

POLL_SECONDS = 0.5
LOG_TAIL_LINES = 25


class RunFailed(RuntimeError):
    """A run ended with an error; the message holds the end of its log and the log's path."""


@dataclass(frozen=True)
class Executor:
    """Does runs.

    Attributes:
        root: the root of the repository; runs are started there.
        train_script: tools/train_net.py, relative to root, or what takes the same arguments and writes the same files.
    """

    root: Path
    train_script: Path

    def do_all(self, runs: Sequence[Run], after_each: Callable[[], None] = lambda: None) -> None:
        """Do every run that is not done yet, with a progress bar over the runs.

        Args:
            runs: bases before their users.
            after_each: called after a run that was done now.

        Raises:
            RunFailed: at the first run that fails; those before it stay done.
        """
        with tqdm(total=len(runs), unit="run", desc="ablation") as bar:
            for run in runs:
                bar.set_description(str(run))
                bar.set_postfix_str("")
                if run.state() is not State.DONE:
                    self.do(run, bar.set_postfix_str)
                    after_each()
                bar.update()

    def do(self, run: Run, show: Callable[[str], object] = lambda words: None) -> None:
        """Do one run, resuming it where it was interrupted; `show` gets its progress in words."""
        state = run.state()
        if state is State.OTHER:
            kept = run.set_aside()
            tqdm.write(f"{run}: {run.folder} held another run, kept as {kept.name} ({_reason(run, kept)})")
        earlier = read_record(run.folder) if state is State.INTERRUPTED else None
        run.folder.mkdir(parents=True, exist_ok=True)
        record = self._record(run, state is State.INTERRUPTED, earlier)
        write_record(run.folder, record)
        started = time.monotonic()
        try:
            code = self._start_and_wait(run, record["command"], show)
            if code == 0 and not (run.folder / RESULTS).is_file():
                raise RunFailed(f"{run}: ended without writing {run.folder / RESULTS}{_log_tail(run)}")
            if code != 0:
                raise RunFailed(f"{run}: ended with exit status {code}{_log_tail(run)}")
            record["finished"] = now()
        finally:
            record["seconds"][-1] = time.monotonic() - started
            if record["finished"] is not None:
                record["train_s"] = _train_seconds(run, record["seconds"])
            write_record(run.folder, record)

    def _record(self, run: Run, resume: bool, earlier: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "row": run.row.name,
            "seed": run.seed,
            "command": run.command(sys.executable, self.train_script, resume),
            "config": run.config,
            "base_finished": run.base_finished(),
            "machine": f"{machine()}, MODEL.DEVICE {run.config['MODEL.DEVICE']}",
            "versions": versions(),
            "commit": commit_of(self.root),
            # One entry a start; null while it runs, and for good where the machine went down.
            "seconds": [*(earlier["seconds"] if earlier else []), None],
            "train_s": None,
            "finished": None,
        }

    def _start_and_wait(self, run: Run, command: Sequence[str], show: Callable[[str], object]) -> int:
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
                        if (words := _progress(run)) != shown:
                            shown = words
                            show(words)
            finally:
                if process.poll() is None:  # this process was interrupted: leave no training behind
                    process.terminate()
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


def commit_of(root: Path) -> str:
    """The commit that `root` is at, "+changes" where tracked files differ from it, "unknown" outside git.

    Results and READMEs under projects/ do not count as changes: an ablation writes them itself.
    """
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    written_by_tools = [":!projects/*/results.json", ":!projects/*/README.md"]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *written_by_tools)
    return f"{commit}+changes" if changes else commit


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _reason(run: Run, folder: Path) -> str:
    record = read_record(folder)
    if record is None:
        return "it has no record of an ablation"
    differences = run.differences(record)
    return "; ".join(differences[:3]) + (f" and {len(differences) - 3} more" if len(differences) > 3 else "")


def _train_seconds(run: Run, seconds: Sequence[float | None]) -> float | None:
    """Seconds of training: the run's own account, or that of the clock less the evaluation; 0 for evaluations.

    None where a part of the time is not known.
    """
    if run.row.kind == "evaluate":
        return 0.0
    results = json.loads((run.folder / RESULTS).read_text(encoding="utf-8"))
    if len(seconds) == 1 and results.get("train_s") is not None:
        return float(results["train_s"])
    known = [part for part in seconds if part is not None]
    return sum(known) - results.get("eval_s", 0.0) if len(known) == len(seconds) else None


def _progress(run: Run) -> str:
    """The last iteration that the metrics.json of its latest training tells of."""
    budget = sum(iterations for _, iterations in run.trainings)
    before = budget
    for folder, iterations in reversed(run.trainings):
        before -= iterations
        if (done := _iterations_done(folder / "metrics.json")) is not None:
            return f"iteration {before + done}/{budget}" if before + done < budget else "evaluating"
    return "starting"


def _iterations_done(path: Path) -> int | None:
    """None where there are no metrics yet, or a line that is being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536), os.SEEK_SET)
            return json.loads(file.read().rstrip().rsplit(b"\n", 1)[-1])["iteration"] + 1
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _log_tail(run: Run) -> str:
    path = run.folder / LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n" + "\n".join(f"  | {line}" for line in lines) + f"\nthe whole log: {path}"
