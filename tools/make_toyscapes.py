#!/usr/bin/env python3
"""Generate Toyscapes: procedural street scenes in the layout of Cityscapes.

    python tools/make_toyscapes.py --output datasets/toyscapes_demo
    python tools/make_toyscapes.py --output datasets/toyscapes --preset standard \\
        --train 2000 --heldout 300 --val 300 --size 128x256 --stats

A second run with the same arguments changes nothing; an interrupted run is completed by the next.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from toyscapes import PRESETS, generate
from toyscapes.statistics import compute_class_shares
from toyscapes.writing import DEFAULT_COUNTS


# The parser of unified_seg.cli is not used, because this tool runs without unified_seg and PyTorch.
def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="FOLDER", help="the folder for the data set")
    add("--preset", default="demo", choices=sorted(PRESETS), help="demo (default) is easy, standard is hard")
    for split, number in DEFAULT_COUNTS.items():
        add(f"--{split}", type=int, default=number, metavar="N", help=f"images of {split}; default: {number}")
    add("--size", type=image_size, default="128x256", metavar="HxW", help="size of the images; default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="seed of the scenes; default: 0")
    workers = "processes, 0 or 1 to work in this one alone; default: one for each CPU"
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help=workers)
    add("--overwrite", action="store_true", help="replace a data set that was made with other arguments")
    add("--stats", action="store_true", help="print the share of each class")
    return parser.parse_args(arguments)


def image_size(text: str) -> tuple[int, int]:
    """Read <height>x<width>."""
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be <height>x<width>, such as 128x256, got {text!r}") from None
    return height, width


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    counts = {split: getattr(args, split) for split in DEFAULT_COUNTS}
    try:
        generate(
            args.output,
            preset=args.preset,
            counts=counts,
            size=args.size,
            seed=args.seed,
            workers=args.workers or 1,
            overwrite=args.overwrite,
        )
    except (ValueError, FileExistsError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if args.stats:
        print(format_statistics(args.output, [split for split, number in counts.items() if number]))


def format_statistics(output: Path, splits: list[str]) -> str:
    """Format the shares of pixels and images and the number of instances of each class and split."""
    columns = {split: compute_class_shares(output, split) for split in splits}
    rows = []
    for shares in zip(*columns.values(), strict=True):
        cells = [(f"{100 * s.pixels:.2f}", f"{100 * s.images:.0f}", s.instances or "") for s in shares]
        rows.append([shares[0].name, *(cell for triple in cells for cell in triple)])
    headers = [f"{split} {what}" for split in splits for what in ("% of pixels", "% of images", "instances")]
    return tabulate(rows, headers=["class", *headers], disable_numparse=True, stralign="right")


if __name__ == "__main__":
    main()
