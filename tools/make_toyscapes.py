#!/usr/bin/env python3
"""Generate Toyscapes: procedural street scenes in the layout of Cityscapes.

    python tools/make_toyscapes.py --output datasets/toyscapes_demo
    python tools/make_toyscapes.py --output datasets/toyscapes --preset standard \\
        --train 2000 --heldout 300 --val 300 --size 128x256 --stats

A second run with the same arguments changes nothing; an interrupted run is completed by the next.
"""

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

from toyscapes import PRESETS, generate
from toyscapes.statistics import compute_class_shares
from toyscapes.writing import DEFAULT_COUNTS


def picture_size(text: str) -> tuple[int, int]:
    """ "128x256" -> (128, 256)."""
    try:
        height, width = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not <height>x<width>, such as 128x256") from None
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--preset", default="demo", choices=sorted(PRESETS), help="demo is easy, standard is hard")
    for split, number in DEFAULT_COUNTS.items():
        parser.add_argument(f"--{split}", type=int, default=number, metavar="N", help=f"{split} images ({number})")
    parser.add_argument("--size", type=picture_size, default=(128, 256), help="<height>x<width> (128x256)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another data set (0)")
    parser.add_argument("--workers", type=int, help="processes; default: one per CPU")
    parser.add_argument("--overwrite", action="store_true", help="replace Toyscapes made with other arguments")
    parser.add_argument("--stats", action="store_true", help="show the share of each class in the end")
    args = parser.parse_args()
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
        sys.exit(f"{parser.prog}: {error}")
    if args.stats:
        print(statistics(args.output, [split for split, number in counts.items() if number]))


def statistics(output: Path, splits: list[str]) -> str:
    """A table of the classes, with the share of pixels, of images, and the instances of each split."""
    columns = {split: compute_class_shares(output, split) for split in splits}
    rows = []
    for shares in zip(*columns.values(), strict=True):
        cells = [(f"{100 * s.pixels:.2f}", f"{100 * s.images:.0f}", s.instances or "") for s in shares]
        rows.append([shares[0].name, *(cell for triple in cells for cell in triple)])
    headers = [f"{split} {what}" for split in splits for what in ("% of pixels", "% of images", "instances")]
    return tabulate(rows, headers=["class", *headers], disable_numparse=True, stralign="right")


if __name__ == "__main__":
    main()
