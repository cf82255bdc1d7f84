"""The checkpoints in the folder of a run, and the one from which the run is resumed."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.utils import comm

from unified_seg.checkpoint.files import CheckpointError, read_checkpoint
from unified_seg.checkpoint.integrity import find_not_finite
from unified_seg.checkpoint.run_state import read_iterations, read_trainer_state
from unified_seg.config.stages import FINAL_WEIGHTS
from unified_seg_files import read_bytes, write_text

# Detectron2's name for the file that names the checkpoint to resume from.
LAST_CHECKPOINT = "last_checkpoint"
MAX_NAME_BYTES = 4096
# The name of a file in the folder of its run.
CHECKPOINT_NAME = re.compile(r"[^/\\\0.][^/\\\0]*\.pth")
# Detectron2's names for the checkpoints of a run, with the last iteration, counted from 0.
PERIODIC_NAME = re.compile(r"model_(\d{1,15})\.pth")


class NewestCheckpoint(NamedTuple):
    """The checkpoint from which a run is resumed.

    Attributes:
        file: in the folder of the run.
        iterations: that were trained.
        refused: why files that come before it were not taken, a line each.
    """

    file: Path
    iterations: int
    refused: tuple[str, ...] = ()

    def read(self) -> dict[str, Any]:
        """Return its content, with tensors that stay on the disk until they are used."""
        return read_checkpoint(self.file, mmap=True, is_checked=True)


def find_newest_checkpoint(
    folder: str | Path, is_of_run: Callable[[Mapping[str, Any]], bool] = lambda state: True
) -> NewestCheckpoint | None:
    """Return the newest good checkpoint of a run; all processes of a run call this, and the first one looks.

    The file that last_checkpoint names comes first: a user may write an older name into it. If it isn't good, the
    newest good one of model_<iteration>.pth and model_final.pth is taken, so that a lost or empty last_checkpoint loses
    no run. A file is good if it is not damaged and its tensors are finite.

    Args:
        folder: of the run.
        is_of_run: whether a checkpoint with this content is of this run; others are passed over.

    Returns:
        The checkpoint; None if the folder has neither a checkpoint of the run nor a last_checkpoint, so that the run
        starts from its beginning.

    Raises:
        CheckpointError: no good file is left, or last_checkpoint names anything but a file of the folder.
    """
    outcome: NewestCheckpoint | CheckpointError | None = None
    if comm.is_main_process():
        try:
            outcome = _find_newest(Path(folder), is_of_run)
        except CheckpointError as error:
            outcome = error
    outcome = comm.all_gather(outcome)[0]
    if isinstance(outcome, CheckpointError):
        raise outcome
    return outcome


def _find_newest(folder: Path, is_of_run: Callable[[Mapping[str, Any]], bool]) -> NewestCheckpoint | None:
    refused: list[str] = []

    def examine(name: str) -> NewestCheckpoint | None:
        try:
            return _examine(folder / name, is_of_run)
        except CheckpointError as error:
            refused.append(str(error))
            return None

    last = read_last_checkpoint(folder)
    if last and (found := examine(last)):
        return found._replace(refused=tuple(refused))
    newest = examine(FINAL_WEIGHTS) if last != FINAL_WEIGHTS and (folder / FINAL_WEIGHTS).exists() else None
    periodic = {int(match[1]): file.name for file in folder.glob("*") if (match := PERIODIC_NAME.fullmatch(file.name))}
    for iteration in sorted(periodic, reverse=True):
        # The last checkpoint of a run may be newer than the end of a shorter training before.
        if newest is not None and iteration < newest.iterations:
            break
        if periodic[iteration] != last and (found := examine(periodic[iteration])):
            newest = found
            break
    if newest is not None:
        return newest._replace(refused=tuple(refused))
    if refused:
        raise CheckpointError(f"--resume: no good checkpoint is left in {folder}: {'; '.join(refused)}")
    if not (last or periodic or (folder / FINAL_WEIGHTS).exists()) and (folder / LAST_CHECKPOINT).is_file():
        raise CheckpointError(f"--resume: {folder / LAST_CHECKPOINT} is empty, and no checkpoint is there; delete it")
    return None


def _examine(file: Path, is_of_run: Callable[[Mapping[str, Any]], bool]) -> NewestCheckpoint | None:
    """Return a checkpoint if it is of the run; raises CheckpointError if it is not good."""
    if file.is_symlink() or not file.exists():
        raise CheckpointError(f"weights {file}: {'a link' if file.is_symlink() else 'there is no such file'}")
    state = read_checkpoint(file, mmap=True)
    if not is_of_run(state):
        return None
    read_iterations(read_trainer_state(state, file), file)
    iterations = read_iterations(state, file)
    if name := find_not_finite(state):
        raise CheckpointError(f"weights {file}: {name} has values that are NaN or infinite")
    return NewestCheckpoint(file, iterations)


def read_last_checkpoint(folder: str | Path) -> str:
    """Return the name in last_checkpoint, "" if there is none; see `find_newest_checkpoint`.

    Raises:
        CheckpointError: the file is unreadable, or names anything but a file of this folder.
    """
    file = Path(folder) / LAST_CHECKPOINT
    if not file.is_file():
        return ""
    what_to_do = "write the name of one, or delete it, so that the newest one is found"
    try:
        # After a power failure a file may have its size, but zeros as its content.
        name = read_bytes(file, MAX_NAME_BYTES).strip(b"\0").decode().strip()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not the name of a checkpoint: {error}; {what_to_do}") from None
    if name and (not CHECKPOINT_NAME.fullmatch(name) or not name.isprintable() or (file.parent / name).is_symlink()):
        raise CheckpointError(f"{file}: {name!r:.80} is not the name of a .pth file in {file.parent}; {what_to_do}")
    return name


def write_last_checkpoint(folder: str | Path, name: str) -> None:
    """Let a run in this folder resume from a file there."""
    write_text(Path(folder) / LAST_CHECKPOINT, name, durable=True)


def forget_last_checkpoint(folder: str | Path) -> None:
    """Delete last_checkpoint; the weights stay where they are, and `find_newest_checkpoint` finds them."""
    (Path(folder) / LAST_CHECKPOINT).unlink(missing_ok=True)
