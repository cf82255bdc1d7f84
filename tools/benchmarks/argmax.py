"""Label maps from logits at a quarter of the image's size, against resizing the logits of all classes first.

The method is LogitMap.labels. The peers are F.interpolate by a factor of four, followed by argmax(1) or max(1).indices.
"""

import argparse
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from unified_seg.structures.logit_map import LogitMap
from unified_seg_cli import ToolParser

from .harness import Call, Comparison, check_size
from .logits import SEED, STRIDE, assert_equal_but_for_ties, smooth_field, uniform_share

SIZE = (1024, 2048)
CLASSES = 19
WINNERS = ("argmax(1)", "max(1).indices")


def add_arguments(parser: ToolParser) -> None:
    pass


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return a comparison for each peer; raises UserError for a size that is not a multiple of the stride."""
    check_size(args.size, STRIDE)
    share = uniform_share(smooth_field(args.size, CLASSES))
    inputs = (
        f"a smooth field (seed {SEED}) of {CLASSES} classes for {args.size[0]}x{args.size[1]}, stride {STRIDE}, "
        f"{share:.1%} of its cells uniform"
    )
    return [
        Comparison(
            name=f"label map, {winner}",
            against=f"F.interpolate, bilinear, then {winner}",
            inputs=inputs,
            method=partial(prepare_method, args.size, args.device),
            peer=partial(prepare_peer, args.size, args.device, winner),
            equal="labels, but for ties under 1e-5",
            assert_equal=partial(assert_equal_labels, args.size, args.device),
        )
        for winner in WINNERS
    ]


def prepare_method(size: tuple[int, int], device: str) -> Call:
    return partial(LogitMap.from_logits(smooth_field(size, CLASSES).to(device), STRIDE, size).labels, size)


def prepare_peer(size: tuple[int, int], device: str, winner: str) -> Call:
    call = _resize_then_argmax if winner == WINNERS[0] else _resize_then_max
    return partial(call, smooth_field(size, CLASSES)[None].to(device))


def assert_equal_labels(size: tuple[int, int], device: str, method: Tensor, peer: Tensor) -> None:
    assert_equal_but_for_ties(method, peer, _resize(smooth_field(size, CLASSES)[None].to(device))[0])


def _resize(logits: Tensor) -> Tensor:
    return F.interpolate(logits, scale_factor=STRIDE, mode="bilinear", align_corners=False)


def _resize_then_argmax(logits: Tensor) -> Tensor:
    return _resize(logits).argmax(1)[0]


def _resize_then_max(logits: Tensor) -> Tensor:
    return torch.max(_resize(logits), 1).indices[0]
