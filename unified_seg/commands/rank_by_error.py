"""Rank images by the error that a model predicts for them."""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.config import CfgNode, ConfigError, make_inference_config
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_files import read_picture
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.heads.error_correction.panels import draw_probability, draw_true_errors
from unified_seg.inference import Predictor
from unified_seg.inference.images import LeftOutFiles, find_records, make_writable
from unified_seg.reporting.error_ranking import (
    Measures,
    Ranked,
    compare_rankings,
    describe,
    format_table,
    summarize,
    write_ranking,
)
from unified_seg.reporting.readme import read_with_markers, replace_table
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap
from unified_seg.visualization import Picture, add_legend, make_grid
from unified_seg.visualization.canvas import to_canvas, write_picture
from unified_seg.visualization.panels import Panel, make_panels
from unified_seg_files import escape_unprintable

MARKERS = "ranking"  # the table in a README
SHEET_WIDTH = 640  # largest width of a picture on the contact sheet, in pixels

Record = dict[str, Any]
Size = tuple[int, int]


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config of the model.

    Raises:
        ConfigError: the config can't be used, or its predictions have no maps of error probabilities.
    """
    cfg = make_inference_config(load_config(args.config_file, args.opts))
    cfg.defrost()
    for key, is_on in (("TEST.AUG.ENABLED", cfg.TEST.AUG.ENABLED), ("TEST.WINDOW.SIZE", cfg.TEST.WINDOW.SIZE)):
        if is_on:
            off = "False" if key == "TEST.AUG.ENABLED" else "0"
            raise ConfigError(f"{key}: must be {off}, errors are only predicted for a whole image in a single view")
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    if args.dataset:
        cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


class ErrorPredictor:
    """A trained model that predicts the errors of its semantic map.

    Raises:
        CheckpointError, ConfigError: see `Predictor`.
    """

    def __init__(self, cfg: CfgNode):
        self.predictor = Predictor(cfg)
        self.head = cfg.MODEL.SEM_SEG_HEAD.NAME
        self.threshold = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.THRESHOLD
        self.table: ClassTable = dataset_classes(self.predictor.metadata)

    def measure_all(self, records: Sequence[Record]) -> Iterator[tuple[Record, Future[Measures]]]:
        """Yield each record with a future of `measure`; see `Predictor.predict_all`."""
        return self.predictor.predict_all(records, self._read, self.measure)

    def draw_all(self, records: Sequence[Record]) -> Iterator[tuple[Record, Future[tuple[np.ndarray, Panel]]]]:
        """Yield each record with a future of `draw`; see `Predictor.predict_all`."""
        return self.predictor.predict_all(records, self._read, self.draw)

    def measure(self, record: Record, image: np.ndarray, outputs: Mapping[str, Any]) -> Measures:
        """Return the predicted and the true error of one image.

        Raises:
            ConfigError: the model predicts no errors.
            DataError: a ground truth that can't be used, or a prediction that is not finite.
        """
        maps, size = self._maps(outputs), (image.shape[0], image.shape[1])
        probability = maps["error"].probability(size)
        wrong, labeled = self.find_errors(record, maps, size)
        measures = Measures(
            predicted_error=float(maps["error_unbalanced"].probability(size).mean()),
            predicted_error_share=float((probability > self.threshold).float().mean()),
            mean_entropy=float(maps["uncorrected"].entropy(size).mean()),
            true_error=float(wrong.sum() / labeled.sum()) if labeled.any() else math.nan,
        )
        if not all(map(math.isfinite, measures[:-1])):
            raise DataError(f"{record['file_name']}: the model predicts logits that are not finite")
        return measures

    def draw(self, record: Record, image: np.ndarray, outputs: Mapping[str, Any]) -> tuple[np.ndarray, Panel]:
        """Draw the image, the prediction, the error probability and, with ground truth, the true errors in a row.

        Returns:
            (h, w, 3) uint8 RGB, and the panel of the prediction for the legend.
        """
        maps, size = self._maps(outputs), (image.shape[0], image.shape[1])
        labels = get_label_map(outputs)
        assert labels is not None
        small = {"sem_seg_labels": _shrink(labels.cpu().numpy(), cv2.INTER_NEAREST)}
        panel = make_panels(small, self.table)["semantic"]
        picture = _shrink(read_picture(record["file_name"]))
        probability = _shrink(maps["error"].probability(size).cpu().numpy())
        pictures = [
            Picture(to_canvas(picture), f"input {size[1]}×{size[0]}"),
            panel.draw(picture),
            Picture(draw_probability(probability), "error probability: black 0, red 1"),
        ]
        wrong, labeled = self.find_errors(record, maps, size)
        if labeled.any():
            true = _shrink(draw_true_errors(wrong, labeled))
            pictures.append(Picture(true, "true errors before correction; white: unlabeled"))
        return make_grid(pictures, len(pictures)), panel

    def find_errors(self, record: Record, maps: Mapping[str, LogitMap], size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Return two (H, W) bool maps: pixels that are wrong before correction, and labeled pixels."""
        if not has_semantic_ground_truth(record):
            return np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        ground_truth = read_semantic_ground_truth(record, self.table, size=size)
        labeled = ground_truth != self.table.ignore_label
        return labeled & (maps["uncorrected"].labels(size).cpu().numpy() != ground_truth), labeled

    def _read(self, record: Record) -> np.ndarray:
        return self.predictor.read(record["file_name"])

    def _maps(self, outputs: Mapping[str, Any]) -> Mapping[str, LogitMap]:
        maps = outputs.get("semantic_logit_maps", {})
        if not {"error", "error_unbalanced", "uncorrected"} <= maps.keys():
            raise ConfigError(
                f"MODEL.SEM_SEG_HEAD.NAME: {self.head or 'no head'} predicts no errors, use ErrorCorrectionHead"
            )
        return maps


def draw_sheet(file: Path, model: ErrorPredictor, ranked: Sequence[Ranked], left_out: LeftOutFiles) -> None:
    """Draw a row for each of the ranked images; `left_out` gets those that can't be drawn.

    Raises:
        DataError: the file can't be written.
    """
    rows, panels = [], []
    drawn = tqdm(model.draw_all([record for record, _ in ranked]), "drawing", len(ranked), unit="img", disable=None)
    for rank, ((record, measures), (_, future)) in enumerate(zip(ranked, drawn, strict=True), start=1):
        row, panel = None, None
        with left_out.collect(record["file_name"]):
            row, panel = future.result()
        if row is None or panel is None:
            continue
        caption = (
            f"{rank}. {escape_unprintable(record['file_name'])}: predicted error {100 * measures.predicted_error:.2f} %"
        )
        if measures.has_true_error:
            caption += f", true error {100 * measures.true_error:.2f} %"
        rows.append(Picture(row, caption))
        panels.append(panel)
    if not rows:
        return
    sheet = add_legend(make_grid(rows, 1), panels, model.table, "present")
    write_picture(file, sheet)


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    if args.into is not None:
        read_with_markers(args.into, MARKERS)
    records = find_records(args.input, args.dataset, cfg)
    make_writable(args.output)
    model = ErrorPredictor(cfg)
    measured, left_out = [], LeftOutFiles()
    for record, future in tqdm(model.measure_all(records), "predicting", len(records), unit="img", disable=None):
        with left_out.collect(record["file_name"]):
            measured.append((record, future.result()))
    if not measured:
        left_out.raise_any(len(records))
    ranked = sorted(measured, key=lambda item: -item[1].predicted_error)
    write_ranking(args.output / "ranking.csv", ranked)
    draw_sheet(args.output / "contact_sheet.png", model, ranked[: args.top], left_out)
    comparison = compare_rankings(ranked)
    summary = summarize(ranked, comparison)
    source = {"config": args.config_file, "weights": cfg.MODEL.WEIGHTS, "dataset": args.dataset}
    write_json(args.output / "summary.json", {**source, "threshold": model.threshold, **summary})
    print(f"{len(ranked)} images ranked: {args.output}")
    if comparison is not None:
        images = summary["images_with_truth"]
        print(describe(comparison, images))
        if args.into is not None:
            replace_table(args.into, MARKERS, format_table(comparison, images, args.dataset, args.config_file))
    left_out.raise_any(len(records))


def _shrink(picture: np.ndarray, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Shrink a picture to at most SHEET_WIDTH."""
    height, width = picture.shape[:2]
    if width <= SHEET_WIDTH:
        return picture
    return cv2.resize(picture, (SHEET_WIDTH, max(1, round(height * SHEET_WIDTH / width))), interpolation=interpolation)
