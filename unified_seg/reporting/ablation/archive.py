"""The finished runs of an ablation in one small file: what its table is computed from, without the weights.

projects/<project>/runs.zip has for each run, in <row>/seed<seed>/, its record, its results and the counts of its
images. So the runs of an ablation can be done on several machines.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from unified_seg.reporting.ablation.plan import Row
from unified_seg.reporting.ablation.results.intervals import INTERVALS, check_run
from unified_seg.reporting.ablation.run_files import RECORD, RESULTS, RunRecord, read_record
from unified_seg.reporting.ablation.runs import Run, State
from unified_seg.reporting.errors import ReportingError
from unified_seg.words import join_some
from unified_seg_files import check_regular, read_bytes, write_bytes

ARCHIVE = "runs.zip"
#: The largest size of all files, unpacked.
MAX_BYTES = 2 * 2**30
MAX_SEEDS = 100
#: Of each entry, so that the same runs give the same archive.
DATE = (1980, 1, 1, 0, 0, 0)


class LeftOut(NamedTuple):
    """An archived run that can't be used.

    Attributes:
        run: the one of the plan.
        reason: in words.
    """

    run: Run
    reason: str


def pack_runs(path: Path, runs: Iterable[Run], dataset: str) -> None:
    """Write the finished ones of these runs into an archive, which replaces an older one.

    Args:
        path: the archive.
        runs: the runs of the table.
        dataset: the data set of the table, whose counts are kept.

    Raises:
        OSError: a full disk, a read-only folder ...
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for run in runs:
            if run.find_state() is not State.FINISHED or (record := read_record(run.folder)) is None:
                continue
            files = {name: run.folder / name for name in _list_files(dataset)}
            for name, file in files.items():
                if file.is_file():
                    data = msgspec.json.encode(_without_paths(record)) if file.name == RECORD else read_bytes(file)
                    archive.writestr(zipfile.ZipInfo(_name_entry(run, name), DATE), data, zipfile.ZIP_DEFLATED)
    write_bytes(path, content.getvalue())


def list_archived_seeds(path: Path, rows: Sequence[Row]) -> list[int]:
    """Return the seeds that an archive has a run of, of any of these rows; empty without an archive.

    Raises:
        ReportingError: it can't be read, or has more seeds than MAX_SEEDS.
    """
    slugs = "|".join(re.escape(row.slug) for row in rows)
    entry = re.compile(rf"(?:{slugs})/seed(\d{{1,9}})/{re.escape(RECORD)}")
    with _open_archive(path) as archive:
        seeds = {int(match[1]) for name in archive.namelist() if (match := entry.fullmatch(name))}
    if len(seeds) > MAX_SEEDS:
        raise ReportingError(f"{path}: runs of {len(seeds):,} seeds, more than the limit of {MAX_SEEDS}")
    return sorted(seeds)


def unpack_runs(path: Path, runs: Sequence[Run], dataset: str, folder: Path) -> tuple[dict[Path, Run], list[LeftOut]]:
    """Unpack the archived runs that are those of the plan.

    Args:
        path: the archive.
        runs: the runs of the plan, bases before their users.
        dataset: see `pack_runs`.
        folder: an empty folder to unpack into.

    Returns:
        The unpacked runs by the folder that the same run has in `runs`; and the others.

    Raises:
        ReportingError: the archive can't be read.
    """
    unpacked: dict[Path, Run] = {}
    left_out = []
    with _open_archive(path) as archive:
        entries = set(archive.namelist())
        for run in runs:
            # Only these names are looked up: an archive can't write anywhere else.
            found = [name for name in _list_files(dataset) if _name_entry(run, name) in entries]
            base = unpacked.get(run.base) if run.base is not None else None
            copy = replace(run, folder=folder / run.row.slug / f"seed{run.seed}", base=base.folder if base else None)
            for name in found:
                write_bytes(copy.folder / name, _read_entry(path, archive, _name_entry(run, name)))
            if not found:
                continue
            if reason := _find_fault(copy, dataset):
                left_out.append(LeftOut(run, f"{path.name}: {run} is left out: {reason}"))
            else:
                unpacked[run.folder] = copy
    return unpacked, left_out


def check_left_out(left_out: Iterable[LeftOut], results: Mapping[str, Any], planned: set[tuple[str, int]]) -> None:
    """Check that no score would stay whose run is not in the archive any more.

    Args:
        left_out: of `unpack_runs`.
        results: with the rows that are kept.
        planned: name of the row and seed of each run that is about to be done.

    Raises:
        ReportingError: one would.
    """
    kept = {(row["name"], seed) for row in results["rows"] for seed in row["seeds"]} - planned
    if lost := [each.reason for each in left_out if (each.run.row.name, each.run.seed) in kept]:
        raise ReportingError(
            f"{lost[0]}; its scores would stay, and the run would be lost: do it again too, or begin anew without "
            f"--keep-published ({len(lost)} such runs)"
        )


def choose_archived(runs: Sequence[Run], archived: Mapping[Path, Run]) -> dict[Path, Run]:
    """Return those archived runs that stand for runs that are not finished here, with their bases.

    Args:
        runs: the runs of a table, bases before their users.
        archived: the result of `unpack_runs`.
    """
    chosen: dict[Path, Run] = {}
    for run in runs:
        # A run and its base are of the same weights: both are from the archive, or both from here.
        has_base = run.base is None or run.base in chosen
        if run.folder in archived and has_base and run.find_state() is not State.FINISHED:
            chosen[run.folder] = archived[run.folder]
    return chosen


def leave_out_needed_bases(runs: Sequence[Run], archived: Mapping[Path, Run]) -> dict[Path, Run]:
    """Return the archived runs without the bases of runs that have to be done here, which need their weights.

    Args:
        runs: the runs that are asked for, bases before their users.
        archived: the result of `unpack_runs`.
    """
    archived = dict(archived)
    while True:
        chosen = choose_archived(runs, archived)
        needed = {run.base for run in runs if run.folder not in chosen and run.base in chosen}
        if not needed:
            return archived
        archived = {folder: run for folder, run in archived.items() if folder not in needed}


def _list_files(dataset: str) -> list[PurePosixPath]:
    """Return the files of a run that an archive has, relative to the run's folder."""
    of_images = [PurePosixPath("inference", dataset, each.file) for each in INTERVALS.values()]
    return [PurePosixPath(RECORD), PurePosixPath(RESULTS), *of_images]


def _name_entry(run: Run, file: PurePosixPath) -> str:
    return f"{run.row.slug}/seed{run.seed}/{file}"


def _find_fault(run: Run, dataset: str) -> str | None:
    """Return in words why an unpacked run can't be used; None if it can."""
    record = read_record(run.folder)
    if record is None:
        return f"no {RECORD} in it"
    if differences := run.list_differences(record):
        return join_some(differences, 3, "; ")
    if run.find_state() is not State.FINISHED:
        return "it is not finished"
    try:
        check_run(run, dataset)
    except ReportingError as error:
        return str(error).replace(f"{run.folder}/", "")
    return None


def _without_paths(record: RunRecord) -> RunRecord:
    """Return a record without the path of the interpreter that ran it."""
    return msgspec.structs.replace(
        record, command=[Path(word).name for word in record.command[:1]] + record.command[1:]
    )


def _open_archive(path: Path) -> zipfile.ZipFile:
    """Open an archive to read; an empty one if the file does not exist."""
    if not path.exists():
        zipfile.ZipFile(empty := io.BytesIO(), "w").close()
        return zipfile.ZipFile(empty)
    try:
        check_regular(path)
        archive = zipfile.ZipFile(path)
        size = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # a damaged archive fails in more ways than zipfile lists
        reason = str(error) or type(error).__name__
        raise ReportingError(f"{path}: not an archive of runs: {reason}; delete it, or take an older version") from None
    if size > MAX_BYTES:
        raise ReportingError(f"{path}: {size:,} bytes when it is unpacked, more than the limit of {MAX_BYTES:,}")
    return archive


def _read_entry(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except Exception as error:  # as above
        raise ReportingError(f"{path}: {name} can't be read: {error or type(error).__name__}") from None
