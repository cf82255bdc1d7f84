"""Generate Toyscapes, train a panoptic model on it, evaluate it and draw its predictions; `make demo` runs this.

python tools/run_demo.py --output output/demo
python tools/run_demo.py --output output/quick --train 64 --val 8 SOLVER.MAX_ITER 20
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_output("the folder for all results; default: output/demo", default=Path("output/demo"))
    parser.add_count("--train", "training images", default=1500)
    parser.add_count("--val", "validation images", default=100)
    parser.add_overrides()
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.commands.run_demo", parse_args(arguments), also=(OSError,))
