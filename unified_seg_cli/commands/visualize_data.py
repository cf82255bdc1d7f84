"""Draw a training set: the labels on disk, or the augmented images and labels that training gets.

    unified-seg visualize --source annotation --config-file configs/toyscapes/unified_demo.yaml \\
        --output output/labels --num-images 20
    unified-seg visualize --source dataloader --config-file ... --output output/augmented --num-images 20

With --source dataloader, check that image, semantic map and instances are transformed alike. Files that can't be read
are left out; with --source annotation they are listed at the end, and the exit code is then 1.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    source = "draw the labels on disk or the output of the training loader"
    parser.add_argument("--source", choices=("annotation", "dataloader"), required=True, help=source)
    parser.add_config_file("the config with the data set and the augmentation")
    output = parser.add_output("the folder for the pictures; default: the current folder", default=Path("."))
    parser.add_alias("--output-dir", output)
    parser.add_alias("--num", parser.add_count("--num-images", "pictures to draw; default: the whole data set once"))
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.visualize_data", parse_args(arguments))
