"""Check data sets: read all files once and report every problem with a way to fix it.

    unified-seg check --config-file configs/toyscapes/unified_demo.yaml --output output/check
    unified-seg check --dataset unified_cityscapes_train unified_cityscapes_val --output output/check

The problems are printed. The folder of --output gets problems.json, with all problems and statistics of classes and
sizes, and index.html, a page with plots and pictures of the problems. The exit status is 0 without errors, 1 with
errors, and 2 if the data sets could not be checked.
"""

import argparse
import sys
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import non_negative_int

NOT_CHECKED = 2  # exit status


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config-file", metavar="FILE", help="check its DATASETS.TRAIN and DATASETS.TEST")
    which.add_argument("--dataset", nargs="+", metavar="NAME", help="check these registered data sets")
    parser.add_output("the folder for problems.json and index.html")
    parser.add_workers()
    show = "largest number of problems of a kind to print; default: %(default)s"
    parser.add_argument("--show", type=non_negative_int, default=20, metavar="N", help=show)
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    parser.add_overrides()
    args = parser.parse_args(arguments)
    if args.dataset and args.opts:
        parser.error("config overrides KEY VALUE need --config-file")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    sys.exit(
        run_command(
            "unified_seg.commands.check_dataset", parse_args(arguments), also=(OSError,), error_status=NOT_CHECKED
        )
    )
