"""The folder for what may be deleted at any time, and folders that only the user can read and write."""

import os
import stat
from pathlib import Path

VARIABLE = "UNIFIED_SEG_CACHE"


def get_cache_folder() -> Path:
    """Return the folder for what may be deleted at any time: UNIFIED_SEG_CACHE, else ~/.cache/unified_seg."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unified_seg"


def make_private_folder(folder: str | Path) -> None:
    """Create a folder, if need be, that only the user can read and write.

    Raises:
        OSError: it can't be created, is a link, or belongs to somebody else.
    """
    folder = Path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "nt":
        return
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode):
        raise OSError(f"{folder} must be a folder, not a link")
    if state.st_uid != os.getuid():
        raise OSError(f"{folder} belongs to another user; set {VARIABLE} to a folder of your own")
    if stat.S_IMODE(state.st_mode) & 0o077:
        folder.chmod(0o700)
