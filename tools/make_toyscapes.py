#!/usr/bin/env python3
"""Generate Toyscapes: procedural street scenes in the layout of Cityscapes.

    python tools/make_toyscapes.py --output datasets/toyscapes_demo
    python tools/make_toyscapes.py --output datasets/toyscapes --preset standard \\
        --train 2000 --heldout 300 --val 300 --size 128x256 --stats

A second run with the same arguments changes nothing; an interrupted run is completed by the next.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from toyscapes import PRESETS, generate
from toyscapes.statistics import compute_class_shares
from toyscapes.writing import DEFAULT_COUNTS
from unified_seg_cli import ToolParser
from unified_seg_cli.types import image_size


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_output("the folder for the data set")
    add = parser.add_argument
    add("--preset", default="demo", choices=sorted(PRESETS), help="demo (default) is easy, standard is hard")
    for split, number in DEFAULT_COUNTS.items():
        add(f"--{split}", type=int, default=number, metavar="N", help=f"images of {split}; default: {number}")
    add("--size", type=image_size, default="128x256", metavar="HxW", help="size of the images; default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="seed of the scenes; default: 0")
    parser.add_workers()
    add("--overwrite", action="store_true", help="replace a data set that was made with other arguments")
    add("--stats", action="store_true", help="print the share of each class")
    return parser.parse_args(arguments)


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
            workers=args.workers,
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
