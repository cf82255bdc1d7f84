#!/usr/bin/env python3
"""Draw where the fusion changes the semantic map most, for the better and for the worse.

    python projects/fusion_scheme/draw_changes.py --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --dataset unified_toyscapes_val --top 3 --output output/fusion_changes \\
        --opts MODEL.WEIGHTS output/fusion_scheme/toyscapes_unified/model_final.pth

The folder gets changes.csv (share of the labelled pixels that are right before and after the fusion, of each image,
best change first), best.png and worst.png. Whatever fusion the config names, the one drawn is SemanticGuidedFusion.
"""

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from detectron2.data import DatasetCatalog
from shared import argument_parser, before_fusion, make_folder, run_to_end, setup
from tqdm import tqdm

from unified_seg.data.reading import DataError, read_image, read_label
from unified_seg.functional.class_table import ClassTable
from unified_seg.inference import Predictor
from unified_seg.visualization import contact_sheet, draw_change, semantic_change, with_legend
from unified_seg.visualization.changes import SemanticChange

Record = dict[str, Any]


class Measured(NamedTuple):
    """A record and what the fusion changed in it."""

    record: Record
    change: SemanticChange


class LabelMaps(NamedTuple):
    """(H, W) semantic ids of one image."""

    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--top", type=int, default=3, metavar="N", help="images on each sheet")
    args = parser.parse_args(arguments)
    if args.top < 1:
        parser.error(f"--top {args.top}: at least one image")
    return args


def label_maps(predictor: Predictor, record: Record, table: ClassTable) -> LabelMaps:
    """Truth and predictions of one record.

    Raises:
        DataError: the record has no semantic truth, or one of another size than the image or with unknown ids.
        ConfigError: the model has no fusion that refines the semantic map.
    """
    if "sem_seg_file_name" not in record:
        raise DataError(f"{record['file_name']}: no semantic label (sem_seg_file_name) to compare with")
    truth = read_label(record["sem_seg_file_name"])
    outputs = predictor(read_image(record["file_name"], "BGR"))
    before, after = (o["sem_seg_labels"].cpu().numpy() for o in (before_fusion(outputs), outputs))
    if truth.shape != after.shape:
        raise DataError(f"{record['sem_seg_file_name']}: {truth.shape} pixels, the image has {after.shape} (H, W)")
    if unknown := set(np.unique(truth).tolist()) - {*range(table.num_semantic), table.ignore_label}:
        raise DataError(f"{record['sem_seg_file_name']}: the ids {sorted(unknown)} are no class and not ignored")
    return LabelMaps(truth, before, after)


def measure(predictor: Predictor, records: Sequence[Record], table: ClassTable) -> list[Measured]:
    """The change of each record, best first; records without a labelled pixel are left out."""
    measured = []
    for record in tqdm(records, desc="predicting", unit="img", disable=None):
        change = semantic_change(*label_maps(predictor, record, table), table)
        if not math.isnan(change.gain):
            measured.append(Measured(record, change))
    return sorted(measured, key=lambda m: -m.change.gain)


def write_csv(file: Path, measured: Sequence[Measured]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_id", "before", "after", "change"])
        for record, change in measured:
            writer.writerow([record["image_id"], *(f"{v:.4f}" for v in (change.before, change.after, change.gain))])


def draw_sheet(file: Path, predictor: Predictor, chosen: Sequence[Measured], table: ClassTable) -> None:
    """A row for each image. It is predicted once more: the maps of a whole data set would not fit into memory."""
    rows, panels = [], []
    for record, change in tqdm(chosen, desc=f"drawing {file.name}", unit="img", disable=None):
        row, shown = draw_change(read_image(record["file_name"], "RGB"), *label_maps(predictor, record, table), table)
        rows.append((caption(record, change), row))
        panels += shown
    sheet = with_legend(contact_sheet(rows), panels, table, "present")
    if not cv2.imwrite(str(file), sheet[:, :, ::-1]):
        raise DataError(f"{file} can't be written")


def caption(record: Record, change: SemanticChange) -> str:
    numbers = f"{change.before:.2f} % right before, {change.after:.2f} % after: {change.gain:+.2f} points"
    return f"{record['image_id']}: {numbers}"


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    records = DatasetCatalog.get(args.dataset)
    make_folder(args.output)
    predictor = Predictor(cfg)
    table = ClassTable.from_metadata(predictor.metadata)
    measured = measure(predictor, records, table)
    if not measured:
        raise DataError(f"the data set {args.dataset} has no image with a labelled pixel")
    write_csv(args.output / "changes.csv", measured)
    draw_sheet(args.output / "best.png", predictor, measured[: args.top], table)
    draw_sheet(args.output / "worst.png", predictor, measured[: -args.top - 1 : -1], table)
    gains = np.array([m.change.gain for m in measured])
    print(
        f"{len(measured)} of {len(records)} images: {(gains > 0).sum()} gain, {(gains < 0).sum()} lose, "
        f"mean change {gains.mean():+.3f} points; best {gains[0]:+.2f}, worst {gains[-1]:+.2f}: {args.output}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    run_to_end(run, parse_args(arguments))


if __name__ == "__main__":
    main()
