"""Train and evaluate a config, with the command line that Detectron2 users know.

    unified-seg train --config-file configs/toyscapes/unified_r18.yaml
    unified-seg train --config-file ... --resume          (after an interruption; or --set-aside, to start anew)
    unified-seg train --config-file ... --eval-only MODEL.WEIGHTS output/toyscapes/unified_r18/model_final.pth
    unified-seg train --config-file ... --num-gpus 8 SOLVER.BASE_LR 0.01
    torchrun --nproc-per-node 2 -m unified_seg_cli train --config-file ...      (several processes, GPUs or not)

Results go to OUTPUT_DIR: model_final.pth, metrics.json, TensorBoard events, inference/results.json.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from unified_seg_cli import ToolParser, run_command


def parse_args(arguments: Sequence[str] | None, description: str | None = __doc__) -> argparse.Namespace:
    """Read the options of Detectron2's command line, and --opts as another spelling of the overrides at its end."""
    parser = ToolParser(description)
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="the config")
    folder = parser.add_mutually_exclusive_group()
    words = "continue from the last checkpoint in OUTPUT_DIR, if there is one"
    folder.add_argument("--resume", action="store_true", help=words)
    words = "move a run that is in OUTPUT_DIR into a folder below, and start a new one; nothing is deleted"
    folder.add_argument("--set-aside", action="store_true", help=words)
    add("--eval-only", action="store_true", help="only evaluate MODEL.WEIGHTS on DATASETS.TEST")
    add("--num-gpus", type=int, default=1, metavar="N", help="GPUs on each machine; default: 1")
    add("--num-machines", type=int, default=1, metavar="N", help="machines; default: 1")
    add("--machine-rank", type=int, default=0, metavar="N", help="the number of this machine, from 0")
    url = "where the machines meet; default: a port of this machine that depends on the user"
    add("--dist-url", default=f"tcp://127.0.0.1:{choose_port()}", metavar="URL", help=url)
    words = "config overrides KEY VALUE ..., after all options"
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help=words)
    same = "the same as the overrides at the end"
    add("--opts", dest="more_opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help=same)
    args = parser.parse_args(arguments)
    args.opts += args.more_opts
    return args


def choose_port() -> int:
    """Return the same port for each run of a user, as Detectron2 does: a process that was left over then shows."""
    user = os.getuid() if sys.platform != "win32" else 1
    return 2**15 + 2**14 + user % 2**14


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("unified_seg.training.command", parse_args(arguments))
