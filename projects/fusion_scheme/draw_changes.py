#!/usr/bin/env python3
"""Draw where the fusion changes the semantic map most, for the better and for the worse.

    python projects/fusion_scheme/draw_changes.py --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --dataset unified_toyscapes_val --top 3 --output output/fusion_changes \\
        --opts MODEL.WEIGHTS output/fusion_scheme/toyscapes_unified/model_final.pth

The folder gets changes.csv (share of the labeled pixels that are right before and after the fusion, of each image,
best change first), best.png and worst.png. Whatever fusion the config names, the one drawn is SemanticGuidedFusion.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog
from shared import before_fusion, make_parser, setup

from unified_seg.cli import run_tool
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import read_semantic_ground_truth
from unified_seg.inference import Predictor
from unified_seg.inference.images import make_writable
from unified_seg.structures.class_table import ClassTable
from unified_seg.visualization.change_sheets import write_changes
from unified_seg.visualization.changes import LabelMaps

NAMES = ("before fusion", "after fusion")


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_count("--top", "images on each sheet", default=3)
    return parser.parse_args(arguments)


def label_maps(predictor: Predictor, table: ClassTable, record: dict[str, Any]) -> LabelMaps:
    """Truth of one record, and predictions before and after the fusion.

    Raises:
        DataError: as `read_semantic_ground_truth`.
        ConfigError: the model has no fusion that refines the semantic map.
    """
    image = read_image(record["file_name"], "BGR")
    ground_truth = read_semantic_ground_truth(record, table, size=image.shape[:2])
    outputs = predictor(image)
    before, after = (o["sem_seg_labels"].cpu().numpy() for o in (before_fusion(outputs), outputs))
    return LabelMaps(ground_truth, before, after)


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    records = DatasetCatalog.get(args.dataset)
    make_writable(args.output)
    predictor = Predictor(cfg)
    table = ClassTable.from_metadata(predictor.metadata)
    compare = partial(label_maps, predictor, table)
    summary = write_changes(args.output, compare, records, table, names=NAMES, top=args.top)
    print(f"{summary}: {args.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
