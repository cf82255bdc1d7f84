"""Print the parameters, multiply-adds and activations of each part of a model, or its structure.

    unified-seg analyze --tasks parameter flop --config-file configs/toyscapes/unified_demo.yaml
    unified-seg analyze --tasks flop activation --weights output/demo/model_final.pth \\
        --dataset unified_toyscapes_val --num-images 20

The work of a detector depends on what it finds, so the counts are averages over the first images of --dataset, or of
the config's DATASETS.TEST; or over random images of the test size if there is none on disk, or with --random.
"""

import argparse
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command

TASKS = ("flop", "activation", "parameter", "structure")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument("--tasks", choices=TASKS, nargs="+", required=True)
    parser.add_model_source()
    parser.add_dataset("a registered data set with images to count on", default=None)
    num_images = parser.add_count("--num-images", "images to average the counts over", default=10)
    parser.add_alias("--num-inputs", num_images)
    parser.add_alias("-n", num_images)
    parser.add_argument("--random", action="store_true", help="use random images even if the data set is on disk")
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.analyze_model", parse_args(arguments))
