"""Train and evaluate all rows and seeds of a project's ablation, and write the table into the project's README.

Finished runs are skipped and interrupted ones continue, so that the same command also resumes an ablation. It reads
projects/<project>/ablation.yaml and writes projects/<project>/results.json, runs.zip (what the results are computed
from) and, between two markers, the README.

    python tools/ablate.py fusion_scheme                    # all rows and seeds
    python tools/ablate.py fusion_scheme --seeds 0 --rows "+ ASP and RP"
    python tools/ablate.py fusion_scheme --render-only      # only write the README from results.json
    python tools/ablate.py pspnet/camvid                    # projects/pspnet/camvid/ablation.yaml, on other data

The table has the runs of this machine; if it would lack published ones, nothing is run. With --keep-published it also
has those of runs.zip, so that an ablation can be done on several machines; a row of results.json with more seeds than
these stays as it is.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command

ROOT = Path(__file__).resolve().parents[2]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    parser.add_argument("project", help="a folder below projects/ with an ablation.yaml")
    seeds = "seeds to run; default: those of ablation.yaml"
    parser.add_argument("--seeds", type=parse_seed, nargs="+", metavar="SEED", help=seeds)
    rows = "rows to run, together with the rows that they build on; default: all"
    parser.add_argument("--rows", nargs="+", metavar="NAME", help=rows)
    parser.add_argument("--device", help="cpu or cuda; default: MODEL.DEVICE of the configs")
    keep = "keep the runs of runs.zip, and the rows of results.json that have more seeds than were run here"
    parser.add_argument("--keep-published", action="store_true", help=keep)
    parser.add_argument("--render-only", action="store_true", help="only write the README from results.json")
    return parser.parse_args(arguments)


def parse_seed(word: str) -> int:
    """Return a seed that Detectron2 takes: from 0, since -1 is a random one, and of 32 bits."""
    if not word.isdecimal() or int(word) >= 2**32:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 0 and below 2**32")
    return int(word)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, train_script: str = "tools/train_net.py") -> None:
    """Run the tool. Only tests give `root` and `train_script` (relative to it)."""
    args = parse_args(arguments)
    args.root, args.train_script = root, Path(train_script)
    run_command("unified_seg.commands.ablate", args, interrupted="interrupted; the same command continues from here")
