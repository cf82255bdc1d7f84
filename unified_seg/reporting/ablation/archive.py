"""The finished runs of an ablation in one small file: what its table is computed from, without the weights.

projects/<project>/runs.zip has for each run, in <row>/seed<seed>/, its record, its results and the counts of its
images. So an ablation can be done at several places, one seed after another.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from unified_seg.reporting.ablation.run_files import RECORD, RESULTS, RunRecord, read_record
from unified_seg.reporting.ablation.runs import Run, State
from unified_seg.reporting.ablation.summary import COUNTS
from unified_seg.reporting.errors import ReportingError
from unified_seg_files import check_regular, delete_tree, read_bytes, write_bytes

ARCHIVE = "runs.zip"
#: The largest file of a run, unpacked; the counts of 100,000 images of 150 classes have less.
MAX_BYTES = 512 * 2**20
#: The same runs give the same archive.
DATE = (1980, 1, 1, 0, 0, 0)


def pack_runs(path: Path, runs: Iterable[Run], dataset: str) -> None:
    """Write the finished runs into an archive, which replaces an older one.

    Args:
        path: of the archive.
        runs: those of the table; unfinished ones are left out.
        dataset: the data set of the table, whose counts are kept.

    Raises:
        OSError: a full disk, a read-only folder ...
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for run in runs:
            if run.find_state() is not State.FINISHED or (record := read_record(run.folder)) is None:
                continue
            for name in _list_files(dataset):
                if name == PurePosixPath(RECORD):
                    data = msgspec.json.encode(_without_paths(record))
                elif (run.folder / name).is_file():
                    data = read_bytes(run.folder / name)
                else:
                    continue
                archive.writestr(zipfile.ZipInfo(f"{_get_place(run)}/{name}", DATE), data, zipfile.ZIP_DEFLATED)
    write_bytes(path, content.getvalue())


def list_archived_seeds(path: Path) -> set[int]:
    """Return the seeds that an archive has at least one file of; none without an archive.

    Raises:
        ReportingError: it can't be read.
    """
    with _open_archive(path) as archive:
        names = archive.namelist()
    return {int(match[1]) for name in names if (match := re.match(r"[a-z0-9_]+/seed(\d{1,9})/", name))}


def unpack_runs(path: Path, runs: Sequence[Run], dataset: str) -> None:
    """Write those runs of an archive into their folders that are of the same config, and of which nothing is here.

    Args:
        path: of the archive; nothing is done without one.
        runs: that there may be, bases before their users.
        dataset: see `pack_runs`.

    Raises:
        ReportingError: the archive can't be read.
    """
    with _open_archive(path) as archive:
        present = set(archive.namelist())
        for run in runs:
            if run.find_state() is not State.ABSENT:
                continue
            # Only these names are looked up: an archive can't write anywhere else.
            places = {name: f"{_get_place(run)}/{name}" for name in _list_files(dataset)}
            found = [name for name, place in places.items() if place in present]
            for name in found:
                write_bytes(run.folder / name, _read_file(path, archive, places[name]))
            if found and run.find_state() is not State.FINISHED:
                delete_tree(run.folder)  # of another config, or of another training of its base


def _list_files(dataset: str) -> list[PurePosixPath]:
    """Return the files of a run that an archive has, relative to the run's folder."""
    counts = [PurePosixPath("inference", dataset, file) for file, _ in COUNTS.values()]
    return [PurePosixPath(RECORD), PurePosixPath(RESULTS), *counts]


def _get_place(run: Run) -> str:
    return f"{run.row.slug}/seed{run.seed}"


def _without_paths(record: RunRecord) -> RunRecord:
    """Return a record without the path of the interpreter that ran it."""
    interpreter, *words = record.command
    return msgspec.structs.replace(record, command=[Path(interpreter).name, *words])


def _open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive to read; an empty one if there is none."""
    if not path.exists():
        zipfile.ZipFile(empty := io.BytesIO(), "w").close()
        return zipfile.ZipFile(empty)
    try:
        check_regular(path)
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ReportingError(f"{path}: not an archive of runs: {error}; delete it, or take an older version") from None


def _read_file(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    if (size := archive.getinfo(name).file_size) > MAX_BYTES:
        raise ReportingError(f"{path}: {name} has {size:,} bytes, more than the limit of {MAX_BYTES:,}")
    try:
        return archive.read(name)
    except Exception as error:  # a damaged archive fails in more ways than zipfile and zlib list
        raise ReportingError(f"{path}: {name} can't be read: {error or type(error).__name__}") from None
