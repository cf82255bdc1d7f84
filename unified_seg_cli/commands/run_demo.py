"""Train a model, evaluate it and draw its predictions; `make demo` and `make demo-photos` run this.

unified-seg run-demo --output output/demo           # on Toyscapes, which it generates
unified-seg run-demo --output output/quick --train 64 --val 8 SOLVER.MAX_ITER 20
unified-seg run-demo --config-file configs/camvid/demo.yaml --output output/demo_photos     # on photographs
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_config_file("the config to train; default: that of Toyscapes", default=None)
    parser.add_output("the folder for all results; default: output/demo", default=Path("output/demo"))
    parser.add_count("--train", "training images of Toyscapes", default=1500)
    parser.add_count("--val", "validation images of Toyscapes", default=100)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.run_demo", parse_args(arguments), also=(OSError,))
