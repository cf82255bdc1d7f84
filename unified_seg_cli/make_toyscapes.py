"""Generate Toyscapes: procedural street scenes in the layout of Cityscapes.

    unified-seg toyscapes --output datasets/toyscapes_demo
    unified-seg toyscapes --output datasets/toyscapes --preset standard \\
        --train 2000 --heldout 300 --val 300 --size 128x256 --stats

A second run with the same arguments changes nothing; an interrupted run is completed by the next.
"""

import argparse
from collections.abc import Sequence

from unified_seg_cli import ToolParser
from unified_seg_cli.types import image_size

# The same as in toyscapes, which imports OpenCV; a test compares them.
PRESETS = ("demo", "standard")
DEFAULT_COUNTS = {"train": 500, "heldout": 100, "val": 100}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_output("the folder for the data set")
    add = parser.add_argument
    add("--preset", default="demo", choices=PRESETS, help="demo (default) is easy, standard is hard")
    for split, number in DEFAULT_COUNTS.items():
        add(f"--{split}", type=int, default=number, metavar="N", help=f"images of {split}; default: {number}")
    add("--size", type=image_size, default="128x256", metavar="HxW", help="size of the images; default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="seed of the scenes; default: 0")
    parser.add_workers()
    add("--overwrite", action="store_true", help="replace a data set that is in the folder already")
    add("--stats", action="store_true", help="print the share of each class")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse_args(arguments)
    from toyscapes.command import run  # not before: OpenCV takes longer than the options

    run(args)
