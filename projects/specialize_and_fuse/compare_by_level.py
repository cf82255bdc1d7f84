#!/usr/bin/env python3
"""Compare the single with the pyramidal output on the pixels of each level: where does one of them gain?

    python projects/specialize_and_fuse/compare_by_level.py --single output/single/model_final.pth \\
        --pyramidal output/pyramidal/model_final.pth --dataset unified_camvid_val --into README.md

A pixel belongs to the level that the pyramidal output assigns to it: a coarse one inside large regions, the finest one
where regions are small or meet.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from unified_seg.config import COMPACT, ConfigError
from unified_seg.data.datasets.alignment import have_same_ids, load_with_classes
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.inference import Predictor
from unified_seg.inference.training_description import load_model_config
from unified_seg.ops.metrics.confusion import compute_semantic_scores, confusion_matrix
from unified_seg.reporting.readme import read_with_markers, replace_table
from unified_seg_cli import ToolParser, run_tool

MARKERS = "outputs-by-level"  # the table in a README
OUTPUTS = ("single", "pyramidal")
ALL = "all"

# Confusion matrices (K, K) by output and by level, a stride or ALL.
Counts = Mapping[tuple[str, int | str], np.ndarray]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ToolParser(__doc__)
    for output in OUTPUTS:
        parser.add_argument(f"--{output}", required=True, metavar="WEIGHTS", help=f"of a model with {output} output")
    parser.add_dataset()
    parser.add_argument("--into", type=Path, metavar="README", help=f"the table goes between its markers '{MARKERS}'")
    parser.add_overrides()
    return parser.parse_args(arguments)


def count_by_level(predictors: Mapping[str, Predictor], dataset: str) -> Counts:
    """Count the pixels of a data set with semantic ground truth by output, level, true and predicted class.

    Raises:
        ConfigError: the models have other classes than each other, or the outputs of the pyramidal one lack levels.
        DataError: an image or a label that can't be read.
    """
    single, pyramidal = (dataset_classes(predictors[output].metadata) for output in OUTPUTS)
    if not have_same_ids(single, pyramidal):
        raise ConfigError("--single, --pyramidal: the models have other classes than each other")
    records, table = load_with_classes(dataset, pyramidal)
    count = partial(confusion_matrix, num_classes=table.num_semantic, ignore_label=table.ignore_label)
    totals: dict[tuple[str, int | str], np.ndarray] = defaultdict(lambda: np.zeros((table.num_semantic,) * 2, np.int64))
    for record in tqdm(records, desc="predicting", unit="img", disable=None):
        ground_truth = read_semantic_ground_truth(record, table)
        size = (ground_truth.shape[0], ground_truth.shape[1])
        found = {output: predictor(predictor.read(record["file_name"])) for output, predictor in predictors.items()}
        maps = found["pyramidal"].get("semantic_maps", {})
        if "levels" not in maps:
            raise ConfigError(
                "--pyramidal: its outputs lack levels; it needs PyramidalOutputHead with PYRAMID.OUTPUT pyramidal, and "
                "whole images in one view"
            )
        strides = [int(name.removeprefix("labels_")) for name in maps if name.startswith("labels_")]
        levels = maps["levels"].read(size).cpu().numpy()
        for output, outputs in found.items():
            labels = outputs["sem_seg_labels"].cpu().numpy()
            for level, stride in enumerate(strides):
                assigned = levels == level
                totals[output, stride] += count(ground_truth[assigned], labels[assigned])
            totals[output, ALL] += count(ground_truth, labels)
    return totals


def make_rows(counts: Counts) -> Iterator[list[str]]:
    """Yield a row for each level: its share of the pixels; of each output the accuracy, and mIoU."""
    for level in dict.fromkeys(level for _, level in counts):
        scores = [compute_semantic_scores(counts[output, level]) for output in OUTPUTS]
        share = counts[OUTPUTS[0], level].sum() / counts[OUTPUTS[0], ALL].sum()
        values = [share, *(each.pixel_accuracy for each in scores), *(each.mean_iou for each in scores)]
        yield [f"of stride {level}" if level != ALL else ALL, *(f"{100 * value:.2f}" for value in values)]


def run(args: argparse.Namespace) -> None:
    if args.into:
        read_with_markers(args.into, MARKERS)
    predictors = {
        output: Predictor(load_model_config(getattr(args, output), [*args.opts, *COMPACT], dataset=args.dataset))
        for output in OUTPUTS
    }
    scores = [f"{score}, {output}" for score in ("accuracy", "mIoU") for output in OUTPUTS]
    rows = list(make_rows(count_by_level(predictors, args.dataset)))
    text = tabulate(rows, ["pixels", "share", *scores], tablefmt="github", disable_numparse=True)
    print(text)
    if args.into:
        replace_table(args.into, MARKERS, f"{text}\n\nPercent; predictions for `{args.dataset}`.")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
