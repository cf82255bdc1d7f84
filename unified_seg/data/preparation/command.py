"""The command line of the scripts, and the official numbers that they check."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from unified_seg.data.problems import DataError


def run_script(
    prepare: Callable[[Path, int, bool], int], default_root: Path, description: str, arguments: Sequence[str] | None
) -> None:
    """Run a script: --root, --workers, --allow-subset.

    Args:
        prepare: called with these three; returns how many files it wrote.
        default_root: the data set's folder.
        description: for --help.
        arguments: None: those of the process.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, default=default_root, metavar="FOLDER", help="the data set's (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: one for each CPU)"
    )
    parser.add_argument("--allow-subset", action="store_true", help="go on with part of the data set, with a warning")
    args = parser.parse_args(arguments)
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least one process")
    try:
        written = prepare(args.root.expanduser(), args.workers, args.allow_subset)
    except (DataError, OSError) as error:
        # What a user can mend, without a traceback; OSError: a full disk, a folder that may not be written to.
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{args.root}: ready, {f'{written} files written' if written else 'there was nothing to do'}")


def check_counts(root: Path, counts: Mapping[str, tuple[int, int]], how_to_get: str, *, allow_subset: bool) -> None:
    """Compare the files of a data set with their official numbers.

    Args:
        root: the data set's folder.
        counts: what -> how many there are, and how many there should be.
        how_to_get: ends the error.
        allow_subset: only warn, unless there is nothing at all.

    Raises:
        DataError: naming every number that differs.
    """
    wrong = [f"{what}: {found:,} of {official:,}" for what, (found, official) in counts.items() if found != official]
    if not wrong:
        return
    message = f"{root}: not the official numbers: {'; '.join(wrong)}"
    if not allow_subset:
        raise DataError(f"{message}; {how_to_get}; --allow-subset goes on with what is there")
    if not any(found for found, _ in counts.values()):
        raise DataError(f"{message}; {how_to_get}")
    logging.getLogger(__name__).warning(f"{message}; going on with what is there")


def count_files(folder: Path, pattern: str) -> int:
    """How many files match below a folder; 0 if there is no such folder."""
    return sum(1 for _ in folder.glob(pattern))
