#!/usr/bin/env python3
"""Try many times what must hold: hostile files run no code, no process sees half a file, a full disk loses nothing.

    python tools/torture.py                                 (all campaigns, as often as docs/robustness.md has it)
    python tools/torture.py payloads=1000 --seed 5000
    python tools/torture.py payloads=500 concurrency=50 --output docs/robustness.json

The exit code is 1 if a try failed; its seed is printed, and `<campaign>=1 --seed <seed>` repeats it. Each campaign is a
file in tools/campaigns/.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import non_negative_int, positive_int


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    words = "campaigns, each with the number of tries; default: all, with their default numbers"
    parser.add_argument("campaigns", nargs="*", metavar="NAME=N", help=words)
    parser.add_argument("--seed", type=non_negative_int, default=0, metavar="N", help="of the first try; default: 0")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a JSON for the numbers; a .md goes beside it")
    parser.add_argument("--show", type=positive_int, default=20, metavar="N", help="failed tries to list; default: 20")
    args = parser.parse_args(arguments)
    args.counts = {}
    for word in args.campaigns:
        name, _, count = word.partition("=")
        try:
            args.counts[name] = positive_int(count)
        except argparse.ArgumentTypeError as error:
            parser.error(f"{word}: the number of tries {error}")
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    run_command("campaigns.command", parse_args(arguments))


if __name__ == "__main__":
    main()
