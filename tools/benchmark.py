#!/usr/bin/env python3
"""Measure time and memory of parts of this library against their peers, in turn in one process.

    python tools/benchmark.py fusion
    python tools/benchmark.py train --device cuda --size 512x1024 --json output/benchmark/train.json
    python tools/benchmark.py fusion --growth output/benchmark/growth.png

Each sub-command is a file in tools/benchmarks/.
"""

import argparse
import importlib
import os
import pkgutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import benchmarks
import torch
from benchmarks.harness import as_table, measure, save_measurements
from benchmarks.publish import publish

from unified_seg.cli import ToolParser, run_tool
from unified_seg.cli.types import device, image_size, positive_int
from unified_seg.errors import UserError
from unified_seg.evaluation.results import get_versions, name_machine
from unified_seg.reporting.readme import read_with_markers


def run(args: argparse.Namespace) -> None:
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {args.device}: torch {torch.__version__} finds no GPU here")
    found = get_versions()
    software = f"torch {found['torch']}, Detectron2 {found['detectron2']}"
    line = f"{name_machine()}, {software}, on {args.device}, {args.threads} threads"
    if args.growth is not None:
        args.command.draw_growth(args, line)
        return
    if args.into is not None:
        read_with_markers(args.into, f"benchmark-{args.name}")
    if hasattr(args.command, "report"):
        args.command.report(args, line)
        return
    comparisons = args.command.make_comparisons(args)
    measurements = [measure(each, args.device, args.repeats, args.threads) for each in comparisons]
    print(as_table(measurements, args.device, line))
    if args.json is not None:
        save_measurements(args.json, measurements, args.device, line)
        print(f"written to {args.json}")
    if args.into is not None:
        publish(args.into, args.name, measurements, line)


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
    for name, module in find_commands().items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, parents=[common], help=text.partition("\n")[0], description=text)
        size = "x".join(map(str, module.SIZE))
        help = "size of the images; default: %(default)s"
        command.add_argument("--size", type=image_size, default=size, metavar="HxW", help=help)
        command.set_defaults(command=module, name=name, growth=None)
        module.add_arguments(command)
    args = parser.parse_args(arguments)
    if args.growth is not None and (args.json is not None or args.into is not None):
        parser.error("--growth can't be combined with --json or --into: it writes its own JSON and has no table")
    return args


def find_commands() -> dict[str, ModuleType]:
    """Return the modules of `benchmarks` with comparisons or an own report, by the names of their sub-commands."""
    modules = [importlib.import_module(f"benchmarks.{info.name}") for info in pkgutil.iter_modules(benchmarks.__path__)]
    commands = [module for module in modules if hasattr(module, "make_comparisons") or hasattr(module, "report")]
    return {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in commands}


def main(arguments: Sequence[str] | None = None) -> None:
    # ValueError: sizes and windows that the library or the generator of the inputs refuses.
    run_tool(partial(run, parse_args(arguments)), also=(ValueError, OSError))


if __name__ == "__main__":
    main()
