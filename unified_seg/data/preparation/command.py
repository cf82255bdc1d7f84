"""The command line of the preparation scripts, and the check of the official numbers of files."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from unified_seg.data.io.file_system import glob_files
from unified_seg.data.problems import DataError
from unified_seg.hints import format_hint
from unified_seg_cli import ToolParser, run_tool


def run_script(
    prepare: Callable[[Path, int, bool], int], default_root: Path, description: str, arguments: Sequence[str] | None
) -> None:
    """Run a preparation script with the options --root, --workers and --allow-subset.

    Args:
        prepare: called with the values of these options; returns the number of files that it wrote.
        default_root: the folder of the data set unless --root names another.
        description: the text of --help.
        arguments: the command line; None for that of this process.

    Raises:
        SystemExit: on an error that the user can fix, such as a damaged archive or a full disk.
    """
    parser = ToolParser(description)
    root = "the folder of the data set; default: %(default)s"
    parser.add_argument("--root", type=Path, default=default_root, metavar="FOLDER", help=root)
    parser.add_workers()
    subset = "accept a part of the data set, with a warning"
    parser.add_argument("--allow-subset", action="store_true", help=subset)
    args = parser.parse_args(arguments)
    work = partial(prepare, args.root.expanduser(), args.workers, args.allow_subset)
    written = run_tool(work, also=(OSError,), interrupted="interrupted; the same command continues from here")
    print(f"{args.root}: ready, {f'{written} files written' if written else 'nothing to do'}")


def check_counts(root: Path, counts: Mapping[str, tuple[int, int]], how_to_get: str, *, allow_subset: bool) -> None:
    """Compare the numbers of files of a data set with the official ones.

    Args:
        root: the folder of the data set.
        counts: by the kind of file, the number found and the official number.
        how_to_get: where to download the data set; the end of the error message.
        allow_subset: only warn about smaller numbers, unless there are no files at all.

    Raises:
        DataError: numbers differ; the message has all of them.
    """
    wrong = [f"{what}: {found:,} of {official:,}" for what, (found, official) in counts.items() if found != official]
    if not wrong:
        return
    message = f"{root}: not the official numbers of files: {'; '.join(wrong)}"
    if not allow_subset:
        raise DataError(f"{message}; {how_to_get}; {format_hint('--allow-subset')} accepts a part")
    if not any(found for found, _ in counts.values()):
        raise DataError(f"{message}; {how_to_get}")
    logging.getLogger(__name__).warning(f"{message}; continuing with this part")


def count_files(folder: Path, pattern: str) -> int:
    """Count the data files below a folder that match a pattern; 0 if there is no such folder."""
    return len(glob_files(folder, pattern))
