"""Writing of lists and links, each completely or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from unified_seg_files import write_atomically, write_text


def write_names(path: Path, names: Sequence[str]) -> int:
    """Write the list of a split, one name on each line, unless the file has this content already.

    Returns:
        The number of files written, 0 or 1.
    """
    text = "".join(f"{name}\n" for name in names)
    if path.is_file() and path.read_bytes() == text.encode():
        return 0
    write_text(path, text)
    return 1


def link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link to a file or, on file systems without hard links, a copy."""
    with write_atomically(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
