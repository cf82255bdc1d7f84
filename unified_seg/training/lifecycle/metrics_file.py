"""metrics.json, a line of JSON for each time that metrics are written, and metrics.csv, the same as a table."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detectron2.utils.events import JSONWriter, get_event_storage

from unified_seg_files import read_bytes, write_bytes, write_rows

METRICS_FILE = "metrics.json"
TABLE_FILE = "metrics.csv"
# How long the evaluation of an iteration took, which shows that it was done.
EVALUATION_SECONDS = "eval_s"
MAX_BYTES = 1 << 30


class MetricsFile(JSONWriter):
    """Detectron2's writer of metrics.json, which opens the file when it writes first and adds the id of the run.

    It writes metrics.csv beside it, with a column for each metric.

    Args:
        path: of the file; lines are appended.
        run_id: of the run.
    """

    def __init__(self, path: Path, run_id: str, window_size: int = 20):
        self.path = path
        self.run_id = run_id
        self._window_size = window_size
        self._last_write = -1
        self._columns: list[str] = []  # of the table, once it is written

    def write(self) -> None:
        lines: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(self._window_size).items():
            if iteration > self._last_write:
                lines.setdefault(iteration, {})[name] = value
        if not lines:
            return
        self._last_write = max(lines)
        text = "".join(
            json.dumps({**values, "iteration": iteration, "run": self.run_id}, sort_keys=True) + "\n"
            for iteration, values in sorted(lines.items())
        )
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
        self._write_table([{**values, "iteration": iteration} for iteration, values in sorted(lines.items())])

    def _write_table(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines to the table; with a new metric, and for the first time in a process, write all of it anew."""
        file = self.path.with_name(TABLE_FILE)
        if self._columns and not {name for line in lines for name in line} - set(self._columns):
            with file.open("a", encoding="utf-8", newline="") as opened:
                csv.writer(opened, lineterminator="\n").writerows(self._make_rows(lines))
            return
        lines = list(read_lines(self.path))
        names = {name for line in lines for name in line} - {"iteration", "run"}
        self._columns = ["iteration", *sorted(names)]
        write_rows(file, [self._columns, *self._make_rows(lines)])

    def _make_rows(self, lines: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
        return [[line.get(name, "") for name in self._columns] for line in lines]

    def close(self) -> None:
        """Do nothing: the file is open only while it is written to."""


def drop_lines_from(path: Path, iteration: int) -> None:
    """Remove the lines of an iteration and of later ones, which a resumed run writes again, and those that are cut."""
    if not path.is_file():
        return
    content = read_bytes(path, MAX_BYTES)
    kept = b"".join(line + b"\n" for line in content.splitlines() if _read_iteration(line) < iteration)
    if kept != content:
        write_bytes(path, kept)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics.json that are not damaged."""
    for line in read_bytes(path, MAX_BYTES).splitlines() if path.is_file() else []:
        if math.isfinite(_read_iteration(line)):
            yield json.loads(line)


def has_value(path: Path, name: str, iteration: int) -> bool:
    """Return whether metrics.json has a value of that name for an iteration."""
    return any(line["iteration"] == iteration and name in line for line in read_lines(path))


def _read_iteration(line: bytes) -> float:
    """Return the iteration of a line; infinity if the line is damaged."""
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, LookupError, TypeError):
        return math.inf
