"""Reading and writing weights and the states of runs."""

from unified_seg.checkpoint.checkpointer import Checkpointer
from unified_seg.checkpoint.files import (
    CheckpointError,
    forget_last_checkpoint,
    read_checkpoint,
    read_last_checkpoint,
    write_checkpoint,
)

__all__ = [
    "CheckpointError",
    "Checkpointer",
    "forget_last_checkpoint",
    "read_checkpoint",
    "read_last_checkpoint",
    "write_checkpoint",
]
