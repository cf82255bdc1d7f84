#!/usr/bin/env python3
"""Measure time and memory of parts of this library against their peers, in turn in one process.

    python tools/benchmark.py fusion
    python tools/benchmark.py train --device cuda --size 512x1024 --json output/benchmark/train.json
    python tools/benchmark.py fusion --growth output/benchmark/growth.png

Each sub-command is a file in tools/benchmarks/.
"""

import argparse
import ast
import importlib
import os
import re
import sys
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path

from unified_seg_cli import ToolParser, run_command
from unified_seg_cli.types import device, image_size, positive_int

FOLDER = Path(__file__).resolve().parent / "benchmarks"
QUOTES = '"""'


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    common = ToolParser(add_help=False)
    common.add_argument("--device", type=device, default="cpu", help="cpu, cuda or cuda:<number>; default: cpu")
    common.add_count("--repeats", "timed calls of each", default=10)
    threads = "threads of PyTorch on the CPU; default: one for each core"
    common.add_argument("--threads", type=positive_int, default=os.cpu_count() or 1, metavar="N", help=threads)
    into = "a README; a table goes between the markers of this command"
    common.add_argument("--into", type=Path, metavar="README", help=into)
    common.add_argument("--json", type=Path, metavar="FILE", help="a file for the measurements")
    parser = ToolParser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    words = sys.argv[1:] if arguments is None else arguments
    for name, text in describe_commands().items():
        command = commands.add_parser(name, parents=[common], help=text.partition("\n")[0], description=text)
        if name in words:  # the others are not imported
            module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
            size = "x".join(map(str, module.SIZE))
            help = "size of the images; default: %(default)s"
            command.add_argument("--size", type=image_size, default=size, metavar="HxW", help=help)
            command.set_defaults(command=module, name=name, growth=None)
            module.add_arguments(command)
    args = parser.parse_args(arguments)
    args.words = list(words)
    if args.growth is not None and (args.json is not None or args.into is not None):
        parser.error("--growth can't be combined with --json or --into: it writes its own JSON and has no table")
    return args


def describe_commands() -> dict[str, str]:
    """Return the docstrings of the modules with comparisons or an own report, by the names of their sub-commands."""
    texts = {path.stem.replace("_", "-"): path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))}
    chosen = {name: text for name, text in texts.items() if re.search(r"^def (make_comparisons|report)\(", text, re.M)}
    # Parsing the whole modules would take longer than all else here.
    return {
        name: cleandoc(ast.literal_eval(f"{QUOTES}{text.split(QUOTES)[1]}{QUOTES}")) for name, text in chosen.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    # ValueError: sizes and windows that the library or the generator of the inputs refuses.
    run_command("benchmarks.command", parse_args(arguments), also=(ValueError, OSError))


if __name__ == "__main__":
    main()
