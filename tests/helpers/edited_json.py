"""JSON files of small data sets: written, and changed in one place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))


def edit(file: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    write(file, content)
