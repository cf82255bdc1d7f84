"""The files in a run's folder: the record of what was run there, and the results of its evaluation."""

from pathlib import Path
from typing import Any

import msgspec

from unified_seg.data.io.text_files import write_json
from unified_seg.reporting.errors import ReportingError
from unified_seg_files import read_bytes

RECORD = "ablation_run.json"
RESULTS = Path("inference") / "results.json"


class RunRecord(msgspec.Struct):
    """The content of ablation_run.json.

    Attributes:
        row, seed: which run of the ablation.
        command: its command line.
        config: the resolved config, flat: what the run reads of it.
        base_finished: when the run whose checkpoint it starts from ended; None without a base.
        machine, versions, commit: where it ran, and with what code.
        seconds: of each start, by the clock; None while it runs, and for good if the machine went down.
        train_s: seconds of training; None until it is finished, or if a part of the time is not known.
        finished: when it ended; None until then.
    """

    row: str
    seed: int
    command: list[str]
    config: dict[str, Any]
    base_finished: str | None
    machine: str
    versions: dict[str, str]
    commit: str
    seconds: list[float | None]
    train_s: float | None = None
    finished: str | None = None


class RunResults(msgspec.Struct):
    """The content of inference/results.json, which `unified_seg.evaluation.save_results` writes.

    Attributes:
        results: data set -> task -> metric -> percent; None: the metric has no value.
        eval_s: seconds of the evaluation.
        train_s: seconds of the training, if it was not interrupted.
    """

    results: dict[str, dict[str, dict[str, float | None]]]
    eval_s: float = 0.0
    train_s: float | None = None


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in a folder; None without a complete one."""
    try:
        return msgspec.json.decode(read_bytes(folder / RECORD), type=RunRecord)
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        return None


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the record of the run in a folder; an interruption leaves the older or the new one."""
    write_json(folder / RECORD, msgspec.to_builtins(record))


def read_results(folder: Path) -> RunResults:
    """Return the results of the run in a folder.

    Raises:
        ReportingError: no such file, or not what train_net writes; it names the file.
    """
    path = folder / RESULTS
    try:
        return msgspec.json.decode(read_bytes(path), type=RunResults)
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError) as error:
        raise ReportingError(
            f"{path}: not the results of an evaluation: {error}; delete {folder}, so that the run is done again"
        ) from None
