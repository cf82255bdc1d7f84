"""Find a learning rate: train a few steps with rising rates and draw the losses.

    unified-seg find-lr --config-file configs/toyscapes/unified_demo.yaml --output output/find_lr

Takes MODEL.WEIGHTS, data, batch size and optimizer of the config, and writes lr_curve.png and lr_curve.csv. The rate at
which the loss falls fastest is a good one to begin with, for SOLVER.BASE_LR; one at which it rises is too high.
"""

import argparse
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_config_file("the config of the training")
    parser.add_output("the folder for the curve")
    rate = "learning rate of the {} step; default: %(default)s"
    parser.add_argument("--lowest", type=float, default=1e-6, metavar="RATE", help=rate.format("first"))
    parser.add_argument("--highest", type=float, default=1.0, metavar="RATE", help=rate.format("last"))
    parser.add_count("--steps", "training steps, less if the loss explodes", default=100)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.training.learning_rate.command", parse_args(arguments))
