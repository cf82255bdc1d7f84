#!/usr/bin/env python3
"""Speed and memory of this project's parts against their peers, timed in turn in one process.

    python tools/benchmark.py train
    python tools/benchmark.py train --device cuda --size 512x1024 --json output/benchmark/train.json

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
from benchmarks.harness import as_table, measure, write_json

from unified_seg.evaluation.results import machine, versions


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        sys.exit(f"benchmark: --device {args.device}, but torch {torch.__version__} finds no GPU here")
    try:
        comparisons = args.command.comparisons(args)
        measurements = [measure(each, args.device, args.repeats, args.threads) for each in comparisons]
    except ValueError as error:
        sys.exit(f"benchmark: {error}")
    found = versions()
    software = f"torch {found['torch']}, Detectron2 {found['detectron2']}"
    line = f"{machine()}, {software}, on {args.device}, {args.threads} threads"
    print(as_table(measurements, args.device, line))
    if args.json is not None:
        write_json(args.json, measurements, args.device, line)
        print(f"written to {args.json}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--size", type=size, default=(128, 256), metavar="HxW", help="of the images; default 128x256")
    common.add_argument("--device", type=device, default="cpu", help="cpu (default), cuda or cuda:<number>")
    common.add_argument("--repeats", type=positive, default=10, metavar="N", help="timed calls of each; default 10")
    common.add_argument("--threads", type=positive, default=os.cpu_count() or 1, metavar="N", help="default: all cores")
    common.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there too")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in find_commands().items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, parents=[common], help=text.partition("\n")[0], description=text)
        module.add_arguments(command)
        command.set_defaults(command=module)
    return parser.parse_args(arguments)


def find_commands() -> dict[str, ModuleType]:
    """Every module of `benchmarks` that has comparisons, by the name of its sub-command."""
    modules = [importlib.import_module(f"benchmarks.{info.name}") for info in pkgutil.iter_modules(benchmarks.__path__)]
    commands = [module for module in modules if hasattr(module, "comparisons")]
    return {module.__name__.rpartition(".")[2].replace("_", "-"): module for module in commands}


if __name__ == "__main__":
    main()
