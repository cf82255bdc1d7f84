"""Several processes of one run, on GPUs or CPUs."""

import os
from collections.abc import Callable
from datetime import timedelta

import torch
from detectron2.utils import comm
from torch import distributed, nn
from torch.distributed.rendezvous import rendezvous

from unified_seg.errors import UserError
from unified_seg.meta_arch import UnifiedSegmentor

# Of gloo's errors after a process has ended; those of NCCL have a class.
LOST_CONNECTION = ("Connection closed by peer", "Connection reset by peer", "gloo")


class ProcessLost(UserError, RuntimeError):
    """Another process of the run has ended, so that this one can't go on."""


def init_processes(backend: str, timeout: timedelta) -> None:
    """Let the processes that torchrun has started meet.

    torchrun may keep its store when it starts them again; the addresses of those that have ended must not be found.
    """
    store, rank, count = next(rendezvous("env://", timeout=timeout))
    store = distributed.PrefixStore(f"start_{_count_restarts()}", store)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)


def distribute(model: nn.Module) -> nn.Module:
    """Wrap the model in DistributedDataParallel if there are several processes, on CUDA or on CPUs."""
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[torch.cuda.current_device()] if on_gpu else None,
        broadcast_buffers=False,
        # The search for them takes some time in every step.
        find_unused_parameters=isinstance(model, UnifiedSegmentor) and not model.reads_all_features(),
    )


def broadcast_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first one, which checkpoints hold.

    Each process gathers BatchNorm statistics of its own, and would evaluate its images with them.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)


def share_signal(number: int) -> int:
    """Return the signal that a process of the run got, so that all end after the same step; 0 if there is none."""
    return max(comm.all_gather(number)) if comm.get_world_size() > 1 else number


def is_lost_connection(error: Exception) -> bool:
    """Return whether an error says that another process of the run has ended."""
    if comm.get_world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    is_of_nccl = isinstance(error, getattr(distributed, "DistError", ()))
    return is_of_nccl or any(sign in str(error) for sign in LOST_CONNECTION)


def call_in_first(function: Callable[[], None]) -> None:
    """Call a function in the first process while the others wait; if it raises an error, all end.

    Raises:
        ProcessLost: in the others, if it raised one in the first process.
    """
    error: Exception | None = None
    if comm.is_main_process():
        try:
            function()
        except Exception as raised:
            error = raised
    has_failed = comm.all_gather(error is not None)[0]
    if error is not None:
        raise error
    if has_failed:
        raise ProcessLost("the first process of this run has ended, see its message")


def get_torchrun_job() -> str:
    """Return what tells the torchrun that started this process from others; "" without one."""
    job = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{job}/{os.getppid()}" if job is not None else ""


def is_elastic_restart() -> bool:
    """Return whether torchrun has started this process again, after a process of the run had failed."""
    return _count_restarts() > 0


def _count_restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
