"""The configs of this project, which have the same names in a checkout and in an installation.

`unified_seg://base/unified_fpn.yaml` is configs/base/unified_fpn.yaml of this project, from any folder. The plain names
`configs/...` and `projects/...` are found too, where the user has no such file.
"""

import difflib
from pathlib import Path

SCHEME = "unified_seg://"
FOLDERS = ("configs", "projects")
PACKAGE = Path(__file__).resolve().parents[1]
# setup.py copies the configs there; in a checkout they are beside the package.
SHIPPED = PACKAGE / "shipped"
ROOT = SHIPPED if SHIPPED.is_dir() else PACKAGE.parent


def locate_config(name: str | Path, folder: str | Path = "") -> Path:
    """Return the path of a config file, which need not exist.

    Args:
        name: a path, or unified_seg:// and the path of a config of this project below configs/ or beside it.
        folder: of a path that is not absolute; "" for the current folder.
    """
    text = str(name)
    if text.startswith(SCHEME):
        rest = text.removeprefix(SCHEME)
        inside = ROOT / "configs" / rest
        return inside if inside.is_file() else ROOT / rest
    path = folder / Path(text).expanduser()
    if not path.is_file() and Path(text).parts[:1] in [(each,) for each in FOLDERS]:
        shipped = ROOT / text
        return shipped if shipped.is_file() else path
    return path


def suggest_config(name: str) -> str:
    """Return the name of the config of this project that a missing one is closest to; "" if none is close."""
    configs = {path.relative_to(ROOT / "configs").as_posix() for path in ROOT.glob("configs/**/*.yaml")}
    projects = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("projects/*/configs/*.yaml")}
    wanted = name.removeprefix(SCHEME).removeprefix("configs/")
    close = difflib.get_close_matches(wanted, configs | projects, n=1, cutoff=0.7)
    return f"{SCHEME}{close[0]}" if close else ""
