#!/usr/bin/env python3
"""Draw the images whose semantic map the fusion improves most, and those that it degrades most.

    python projects/fusion_scheme/draw_changes.py --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --dataset unified_toyscapes_val --top 3 --output output/fusion_changes \\
        --opts MODEL.WEIGHTS output/fusion_scheme/toyscapes_unified/model_final.pth

The folder gets changes.csv (for each image the share of labeled pixels that are right before and after the fusion, the
largest gain first), best.png and worst.png. The fusion is SemanticGuidedFusion, whatever the config names.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from shared import create_parser, get_unfused, read_config

from unified_seg.data.datasets.alignment import load_with_classes
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps
from unified_seg_cli import run_tool

NAMES = ("before fusion", "after fusion")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = create_parser(__doc__)
    parser.add_count("--top", "images on each sheet", default=3)
    return parser.parse_args(arguments)


def predict_label_maps(
    predictor: Predictor, table: ClassTable, records: Sequence[dict[str, Any]]
) -> Iterator[LabelMaps]:
    """Yield the ground truth of each record, and the predictions before and after the fusion.

    Raises:
        DataError: see `read_semantic_ground_truth`.
        ConfigError: the model has no fusion that refines the semantic map.
    """

    def finish(record: dict[str, Any], image: np.ndarray, outputs: dict[str, Any]) -> LabelMaps:
        ground_truth = read_semantic_ground_truth(record, table, size=image.shape[:2])
        before, after = (each["sem_seg_labels"].cpu().numpy() for each in (get_unfused(outputs), outputs))
        return LabelMaps(ground_truth, before, after)

    predicted = predictor.predict_all(records, lambda record: predictor.read(record["file_name"]), finish)
    return (future.result() for _, future in predicted)


def run(args: argparse.Namespace) -> None:
    cfg = read_config(args)
    make_writable(args.output)
    predictor = Predictor(cfg)
    records, table = load_with_classes(args.dataset, dataset_classes(predictor.metadata))
    compare = partial(predict_label_maps, predictor, table)
    summary = write_changes(args.output, compare, records, table, names=NAMES, top=args.top)
    print(f"{summary}: {args.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
