"""The files of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder and its sub-folders, sorted in each, through links to folders too, each folder once."""
    seen = set()
    for path, subfolders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(path)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        yield from (Path(path) / name for name in sorted(names))
