"""Starting the processes of a run: with Detectron2's --num-gpus, or with torchrun (NCCL on GPUs, gloo on CPUs)."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from detectron2.engine import launch as detectron2_launch
from torch import distributed

from unified_seg.config import load_config
from unified_seg.errors import UserError
from unified_seg.hints import format_hint
from unified_seg.training.lifecycle.processes import init_processes


def launch(main: Callable[[argparse.Namespace], Any], args: argparse.Namespace) -> Any:
    """Run `main(args)` in every process that the command line or torchrun requests.

    Returns:
        The result of `main` if it runs in this process, else None.

    Raises:
        UserError: more GPUs are requested than there are.
    """
    if is_under_torchrun():
        with join_torchrun(load_config(args.config_file, args.opts).MODEL.DEVICE):
            return main(args)
    available = torch.cuda.device_count()
    if args.num_gpus > max(available, 1):
        config_file = ("--config-file", args.config_file) if args.config_file else ()
        raise UserError(
            f"--num-gpus {args.num_gpus}: this machine has {available}; several processes without GPUs start with "
            + format_hint("torchrun", "--nproc-per-node", args.num_gpus, "-m", "unified_seg_cli", "train", *config_file)
        )
    if args.num_machines == 1 and args.num_gpus <= 1:
        return main(args)
    return detectron2_launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


def is_under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def join_torchrun(device: str) -> Iterator[None]:
    """Let the processes that torchrun started work together, on GPUs or CPUs; without torchrun do nothing.

    Args:
        device: MODEL.DEVICE.

    Raises:
        UserError: torchrun started more processes than there are GPUs.
    """
    if not is_under_torchrun():
        yield
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        rank, available = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if rank >= available:
            raise UserError(f"MODEL.DEVICE is cuda: torchrun starts more processes than there are GPUs ({available})")
        torch.cuda.set_device(rank)
    # The first process checks all labels while the others wait.
    init_processes("nccl" if on_gpu else "gloo", timeout=timedelta(hours=2))
    try:
        yield
    finally:
        distributed.destroy_process_group()
