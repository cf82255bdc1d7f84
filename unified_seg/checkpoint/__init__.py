"""Reading and writing weights and the states of runs."""

from unified_seg.checkpoint.checkpointer import Checkpointer
from unified_seg.checkpoint.files import CheckpointError, read_checkpoint, write_checkpoint
from unified_seg.checkpoint.run_folder import NewestCheckpoint, find_newest_checkpoint, forget_last_checkpoint

__all__ = [
    "CheckpointError",
    "Checkpointer",
    "NewestCheckpoint",
    "find_newest_checkpoint",
    "forget_last_checkpoint",
    "read_checkpoint",
    "write_checkpoint",
]
