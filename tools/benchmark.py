#!/usr/bin/env python3
"""Speed and memory of this project's parts against their peers, timed in turn in one process.

    python tools/benchmark.py fusion
    python tools/benchmark.py train --device cuda --size 512x1024 --json output/benchmark/train.json
    python tools/benchmark.py fusion --growth output/benchmark/growth.png

Each sub-command is a file in tools/benchmarks/.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import benchmarks
import torch
from benchmarks.arguments import device, positive, size
from benchmarks.harness import as_table, measure, save_measurements
from benchmarks.publish import publish

from unified_seg.evaluation.results import machine, versions
from unified_seg.reporting.readme import check_markers


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        sys.exit(f"benchmark: --device {args.device}, but torch {torch.__version__} finds no GPU here")
    found = versions()
    software = f"torch {found['torch']}, Detectron2 {found['detectron2']}"
    line = f"{machine()}, {software}, on {args.device}, {args.threads} threads"
    if args.growth is not None:
        args.command.draw_growth(args, line)
        return
    try:
        comparisons = args.command.comparisons(args)
        if args.into is not None:
            check_markers(args.into, f"benchmark-{args.name}")
        measurements = [measure(each, args.device, args.repeats, args.threads) for each in comparisons]
    except ValueError as error:
        sys.exit(f"benchmark: {error}")
    print(as_table(measurements, args.device, line))
    if args.json is not None:
        save_measurements(args.json, measurements, args.device, line)
        print(f"written to {args.json}")
    if args.into is not None:
        publish(args.into, args.name, measurements, line)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--device", type=device, default="cpu", help="cpu (default), cuda or cuda:<number>")
    common.add_argument("--repeats", type=positive, default=10, metavar="N", help="timed calls of each; default 10")
    common.add_argument("--threads", type=positive, default=os.cpu_count() or 1, metavar="N", help="default: all cores")
    common.add_argument("--into", type=Path, metavar="README", help="put a table between this command's markers there")
    common.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there too")
    verbatim = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=verbatim)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in find_commands().items():
        text = (module.__doc__ or "").strip()
        summary = text.partition("\n")[0]
        command = commands.add_parser(name, parents=[common], help=summary, description=text, formatter_class=verbatim)
        default = "x".join(map(str, module.SIZE))
        command.add_argument(
            "--size", type=size, default=default, metavar="HxW", help=f"of the images; default {default}"
        )
        command.set_defaults(command=module, name=name, growth=None)
        module.add_arguments(command)
    args = parser.parse_args(arguments)
    if args.growth is not None and (args.json is not None or args.into is not None):
        parser.error("--growth measures nothing else: its JSON goes beside the plot, and it has no table")
    return args


def find_commands() -> dict[str, ModuleType]:
    """Every module of `benchmarks` that has comparisons, by the name of its sub-command."""
    modules = [importlib.import_module(f"benchmarks.{info.name}") for info in pkgutil.iter_modules(benchmarks.__path__)]
    commands = [module for module in modules if hasattr(module, "comparisons")]
    return {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in commands}


if __name__ == "__main__":
    main()
