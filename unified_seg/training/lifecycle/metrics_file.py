"""metrics.json, a line of JSON for each time that metrics are written."""

import json
import math
from pathlib import Path

from detectron2.utils.events import JSONWriter, get_event_storage

from unified_seg_files import read_bytes, write_bytes

METRICS_FILE = "metrics.json"
MAX_BYTES = 1 << 30


class MetricsFile(JSONWriter):
    """Detectron2's writer of metrics.json, which opens the file when it writes first and adds the id of the run.

    Args:
        path: of the file; lines are appended.
        run_id: of the run.
    """

    def __init__(self, path: Path, run_id: str, window_size: int = 20):
        self.path = path
        self.run_id = run_id
        self._window_size = window_size
        self._last_write = -1

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


def has_value(path: Path, name: str, iteration: int) -> bool:
    """Return whether metrics.json has a value of that name for an iteration."""
    lines = read_bytes(path, MAX_BYTES).splitlines() if path.is_file() else []
    return any(_read_iteration(line) == iteration and name in json.loads(line) for line in lines)


def _read_iteration(line: bytes) -> float:
    """Return the iteration of a line; infinity if the line is damaged."""
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, LookupError, TypeError):
        return math.inf
