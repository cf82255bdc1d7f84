"""The folder of a run, before anything is written to it."""

import fnmatch
import os
import stat
from pathlib import Path

from unified_seg.config import ConfigError
from unified_seg_files import remove_leftovers

# What Detectron2, TensorBoard and logs of processes open in place, so that a link with such a name would be followed.
WRITTEN_IN_PLACE = (
    "log.txt*",
    "metrics.json",
    "config.yaml",
    "events.out.tfevents.*",
    "unreadable.txt",
    "ablation_log.txt",
    "train_net.txt",
)


def prepare_output_folder(folder: str | Path) -> None:
    """Create the folder of a run and check that it can be written to; remove what killed runs left half written.

    Raises:
        ConfigError: it can't be created or written to; or a file that is opened in place is a link, or no regular file.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = os.listdir(folder)
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR {folder}: {error.strerror}; choose another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK) or _is_read_only(folder):
        raise ConfigError(f"OUTPUT_DIR {folder}: it can't be written to; choose another folder")
    for name in names:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in WRITTEN_IN_PLACE):
            mode = (folder / name).lstat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
                raise ConfigError(f"OUTPUT_DIR {folder}: {name} is {kind}, to which nothing is written; remove it")
    remove_leftovers(folder)


def _is_read_only(folder: Path) -> bool:
    """Return whether a file system takes no files, of which the permissions of a folder say nothing."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
