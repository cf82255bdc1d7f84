"""Compute a loss and its gradient in two processes over gloo, each with half of the batch; started by test_losses.

    python losses_of_two_processes.py FOLDER

A program of its own without threads, since processes forked beside the threads of a test runner can hang.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing

from unified_seg.ops.losses import mean_cross_entropy

IGNORE = 255


def example(seed: int, images: int = 2, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    """Return random logits and targets of a few small images."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, 5, 6, 7, generator=generator)
    targets = torch.randint(0, 5, (images, 6, 7), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < ignored] = IGNORE
    return logits, targets


def uneven_batch() -> tuple[Tensor, Tensor]:
    """Return four images, of which the last two have far fewer valid pixels."""
    logits, targets = example(3, images=4, ignored=0.1)
    targets[2:, 1:] = IGNORE
    return logits, targets


def one_of_two(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting_point", rank=rank, world_size=2)
    logits, targets = uneven_batch()
    mine = slice(2 * rank, 2 * rank + 2)
    scale = torch.ones((), requires_grad=True)
    loss = mean_cross_entropy(logits[mine] * scale, targets[mine], IGNORE)
    loss.backward()
    torch.save((loss.detach(), scale.grad), folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads do not survive a fork
    multiprocessing.start_processes(one_of_two, (Path(sys.argv[1]),), nprocs=2, start_method="fork")
