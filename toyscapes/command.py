"""The work of `tools/make_toyscapes.py`."""

import sys
from argparse import Namespace
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tabulate import tabulate

from toyscapes.statistics import compute_class_shares
from toyscapes.writing import DEFAULT_COUNTS, generate


def run(args: Namespace) -> None:
    """Generate, and print statistics if requested; an error ends the process with one line."""
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
    except (ValueError, OSError, BrokenProcessPool) as error:
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
