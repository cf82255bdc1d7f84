"""Writing and reading checkpoints, with digest and checks, against torch.save and torch.load alone.

The files have the size of one of Panoptic FPN on ResNet-50 with its momentum. A checkpoint is on the disk when it is
written, under its final name; the second peer waits for the disk too.
"""

import argparse
import atexit
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unified_seg.checkpoint import find_newest_checkpoint, read_checkpoint, write_checkpoint
from unified_seg_cli import ToolParser

from .harness import Call, Comparison

# Of no image; not a choice.
SIZE = (1, 1)
SEED = 0
# Of the weights of a layer, 1.2 MB.
SHAPE = (256, 128, 3, 3)
NAME = "model_0000001.pth"
PEERS = {"torch.save": False, "torch.save and fsync": True}


def add_arguments(parser: ToolParser) -> None:
    parser.add_count("--layers", "weights in the file, of 1.2 MB each, and as many of momentum", default=150)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    megabytes = 2 * args.layers * torch.Size(SHAPE).numel() * 4 / 1e6
    common: dict[str, Any] = {
        "inputs": f"{2 * args.layers} tensors (seed {SEED}), {megabytes:.0f} MB",
        "equal": "all tensors",
        "assert_equal": assert_equal,
    }
    content = partial(make_content, args.layers)
    writes = [
        Comparison(
            name="a checkpoint is written",
            against=peer,
            method=partial(prepare_write, content, root / NAME),
            peer=partial(prepare_plain_write, content, root / "plain.pth", wait),
            **common,
        )
        for peer, wait in PEERS.items()
    ]
    reads = {
        "a checkpoint is read": partial(prepare_read, content, root / NAME),
        "a checkpoint of torch.save is read": partial(prepare_read, content, root / "plain.pth", plain=True),
        "the newest good checkpoint is found": partial(prepare_find, content, root / NAME),
    }
    peer = partial(prepare_plain_read, content, root / "plain.pth")
    against = "torch.load, weights_only"
    return [
        *writes,
        *(Comparison(name, against=against, method=read, peer=peer, **common) for name, read in reads.items()),
    ]


def make_content(layers: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(SEED)
    tensors = [torch.rand(SHAPE, generator=generator) for _ in range(2 * layers)]
    weights = {f"layer{number}.weight": tensor for number, tensor in enumerate(tensors[:layers])}
    return {"model": weights, "trainer": {"momentum": tensors[layers:]}, "iteration": 1}


def prepare_write(make: Any, file: Path) -> Call:
    content = make()

    def write() -> dict[str, Any]:
        write_checkpoint(file, content)
        return content

    return write


def prepare_plain_write(make: Any, file: Path, wait: bool) -> Call:
    content = make()

    def write() -> dict[str, Any]:
        with file.open("wb") as opened:
            torch.save(content, opened)
            if wait:
                os.fsync(opened)
        return content

    return write


def prepare_read(make: Any, file: Path, plain: bool = False) -> Call:
    prepare_plain_write(make, file, wait=False)() if plain else prepare_write(make, file)()
    return partial(read_checkpoint, file)


def prepare_plain_read(make: Any, file: Path) -> Call:
    prepare_plain_write(make, file, wait=False)()
    return partial(torch.load, file, map_location="cpu", weights_only=True)


def prepare_find(make: Any, file: Path) -> Call:
    prepare_write(make, file)()

    def find() -> dict[str, Any]:
        newest = find_newest_checkpoint(file.parent)
        assert newest is not None
        return torch.load(newest.file, weights_only=True, mmap=True)

    return find


def assert_equal(method: dict[str, Any], peer: dict[str, Any]) -> None:
    assert list(method["model"]) == list(peer["model"])
    pairs: list[tuple[Tensor, Tensor]] = [
        *zip(method["model"].values(), peer["model"].values(), strict=True),
        *zip(method["trainer"]["momentum"], peer["trainer"]["momentum"], strict=True),
    ]
    assert all(torch.equal(a, b) for a, b in pairs), "tensors differ"
