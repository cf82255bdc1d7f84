"""Measure the comparisons of a sub-command, and write them down."""

import argparse

import torch

from benchmarks.harness import as_table, measure, save_measurements
from benchmarks.publish import format_command, publish
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
        save_measurements(args.json, measurements, args.device, line, format_command(args.words))
        print(f"written to {args.json}")
    if args.into is not None:
        publish(args.into, args.name, measurements, line, args.words)
