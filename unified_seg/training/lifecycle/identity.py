"""Which run a folder belongs to. A run never goes on from the files of another one, or mixes its own with them."""

import fnmatch
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from unified_seg.checkpoint import NewestCheckpoint, find_newest_checkpoint
from unified_seg.checkpoint.run_folder import LAST_CHECKPOINT
from unified_seg.config import ConfigError
from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg.hints import format_hint
from unified_seg.training.lifecycle.metrics_file import METRICS_FILE
from unified_seg.training.lifecycle.processes import get_torchrun_job, is_elastic_restart
from unified_seg.words import join_some
from unified_seg_files import read_bytes, write_text

RUN_FILE = "run.json"
MAX_BYTES = 10_000
ID = re.compile(r"[0-9a-f]{16}")
# What shows that a training was here.
CHECKPOINTS = ("model_*.pth", LAST_CHECKPOINT)
EVIDENCE = (*CHECKPOINTS, METRICS_FILE)
# What a run writes into its folder, beside the folders of its stages.
WRITTEN = (
    *EVIDENCE,
    "model_*.pth.*",
    "model_*.safetensors",
    "config.yaml",
    "log.txt*",
    "events.out.tfevents.*",
    "unreadable.txt",
    "inference",
    RUN_FILE,
)


#: Returns what `find_checkpoint` returns for a folder; a run passes one on that remembers it.
FindCheckpoint = Callable[[str], NewestCheckpoint | None]


def read_run_id(folder: str | Path) -> str:
    """Return the id of the run in a folder; "" if it has none, as one of an earlier version, or is damaged."""
    found = _read(folder).get("id")
    return found if isinstance(found, str) and ID.fullmatch(found) else ""


def read_threads(folder: str | Path) -> int | None:
    """Return the number of PyTorch's threads with which the run in a folder began; None if that is not known."""
    found = _read(folder).get("threads")
    return found if isinstance(found, int) and found > 0 else None


def _read(folder: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(Path(folder) / RUN_FILE, MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def provide_run_id(folder: str | Path, run_id: str = "") -> str:
    """Return the id of the run in a folder; if it has none, give it this one, or a new one.

    It is written to the checkpoints and to metrics.json too.
    """
    if found := read_run_id(folder):
        return found
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    content: dict[str, Any] = {"id": run_id or secrets.token_hex(8), "started": started, "job": get_torchrun_job()}
    content["threads"] = torch.get_num_threads()
    write_text(Path(folder) / RUN_FILE, json.dumps(content) + "\n", durable=True)
    return content["id"]


def is_restarted(folder: str | Path) -> bool:
    """Return whether torchrun has started this process again, and the run in the folder is the one that it started."""
    job = get_torchrun_job()
    return is_elastic_restart() and job != "" and _read(folder).get("job") == job


def find_checkpoint(folder: str | Path) -> NewestCheckpoint | None:
    """Return the checkpoint from which the run of a folder is resumed; None if it starts from its beginning.

    Checkpoints of other runs are passed over; those of earlier versions, which have no id, are not.

    Raises:
        CheckpointError: see `find_newest_checkpoint`.
    """
    run_id = read_run_id(folder)
    return find_newest_checkpoint(folder, lambda state: not run_id or state.get("run", run_id) == run_id)


def has_checkpoints(folder: str | Path) -> bool:
    """Return whether the run of a folder has written a checkpoint, good or not."""
    return bool(_list(Path(folder), CHECKPOINTS))


def holds_run(folder: str | Path) -> bool:
    """Return whether a training has taken place in a folder: it left checkpoints or metrics."""
    return bool(_list(Path(folder), EVIDENCE))


def is_final(checkpoint: NewestCheckpoint | None) -> bool:
    """Return whether a checkpoint is the result of a training that is complete."""
    return checkpoint is not None and checkpoint.file.name == FINAL_WEIGHTS


def check_unused(folder: str | Path, stages: Iterable[str] = ()) -> None:
    """Refuse to start a new run where there is one already.

    Args:
        folder: of the run.
        stages: names of the folders below it that belong to stages.

    Raises:
        ConfigError: there are checkpoints or metrics.
    """
    folder = Path(folder)
    found = [str(path.relative_to(folder)) for each in (folder, *(folder / name for name in stages)) for path in
             sorted(_list(each, EVIDENCE))]  # fmt: skip
    if found:
        other = format_hint("OUTPUT_DIR", folder.with_name(f"{folder.name}_2"))
        raise ConfigError(
            f"OUTPUT_DIR {folder}: there is a run already, with {join_some(found, 3)}; continue it with "
            f"{format_hint('--resume')}, write the new one to another folder, such as {other}, or move the old one "
            f"into a folder below with {format_hint('--set-aside')}"
        )


def set_run_aside(folder: str | Path, stages: Iterable[str] = ()) -> Path | None:
    """Move what a run wrote to its folder into a new folder `earlier_run_<number>` in it.

    Args:
        folder, stages: see `check_unused`.

    Returns:
        The new folder; None if there was no run.
    """
    folder = Path(folder)
    of_stages = [folder / name for name in stages if _list(folder / name, (*EVIDENCE, RUN_FILE))]
    moved = [*_list(folder, WRITTEN), *of_stages]
    if not moved:
        return None
    number = 1
    while (target := folder / f"earlier_run_{number}").exists():
        number += 1
    target.mkdir()
    for path in moved:
        os.rename(path, target / path.name)
    return target


def _list(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Return what is in a folder under a name of one of the patterns; of the files only those that are not empty."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if any(fnmatch.fnmatchcase(path.name, each) for each in patterns)]
    return [path for path in found if path.is_dir() or path.lstat().st_size]
