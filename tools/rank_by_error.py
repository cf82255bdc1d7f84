#!/usr/bin/env python3
"""Rank images by how much of them a model thinks that it has wrong: those to label next come first.

    python tools/rank_by_error.py --config-file config.yaml --input 'unlabeled/*.jpg' --output output/ranking \\
        --opts MODEL.WEIGHTS output/corrected/model_final.pth
    python tools/rank_by_error.py --config-file config.yaml --dataset unified_toyscapes_val --output ... --opts ...

The model needs a head that predicts its errors (MODEL.SEM_SEG_HEAD.NAME ErrorCorrectionHead). The folder gets
ranking.csv, with of each image

    predicted_error        mean error probability of its pixels, without the balance that the error branch was trained
                           with, by which it is ranked
    predicted_error_share  share of its pixels whose error probability is above ERROR_CORRECTION.THRESHOLD
    mean_entropy           mean softmax entropy of the answer before correction, as a share of the largest: what a
                           ranking without an error branch would go by
    true_error             of a data set with ground truth, share of its labeled pixels that this answer has wrong

then contact_sheet.png, the first images with their answers and error probabilities; and summary.json: with ground truth, the
rank correlations (Spearman) of predicted_error and of mean_entropy with true_error, which --into puts into a README.
"""

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import cv2
import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from unified_seg import load_config
from unified_seg.checkpoint import CheckpointError
from unified_seg.config import CfgNode, ConfigError, make_inference_config
from unified_seg.data.datasets.classes import dataset_classes
from unified_seg.data.io.image_files import read_image
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.heads.error_correction.panels import draw_probability, draw_true_errors
from unified_seg.inference import Predictor
from unified_seg.inference.images import find_records, make_writable
from unified_seg.ops.metrics.rank_correlation import RankComparison, compare_rankings
from unified_seg.reporting.readme import check_markers, put_into
from unified_seg.structures.class_table import ClassTable
from unified_seg.structures.logit_map import LogitMap
from unified_seg.visualization import Picture, add_legend, make_grid
from unified_seg.visualization.canvas import to_canvas
from unified_seg.visualization.panels import Panel, make_panels

MARKERS = "ranking"  # of the place in a README
SHEET_WIDTH = 640  # pixels of a picture on the contact sheet, at most

Record = dict[str, Any]
Size = tuple[int, int]


class Measures(NamedTuple):
    """Shares, 0 to 1; see the columns of ranking.csv. NaN where there is no ground truth."""

    predicted_error: float
    predicted_error_share: float
    mean_entropy: float
    true_error: float


Ranked = tuple[Record, Measures]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="the config that the weights belong to")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="images, folders of images, or quoted patterns")
    source.add_argument("--dataset", metavar="NAME", help="a registered data set")
    add("--output", type=Path, required=True, metavar="FOLDER", help="where results go")
    add("--top", type=int, default=12, metavar="N", help="images on the contact sheet; default: 12")
    add("--into", type=Path, metavar="README", help="put the rank correlations between the markers 'ranking' there")
    add("--opts", nargs=argparse.REMAINDER, default=[], help="config overrides: KEY VALUE ...")
    args = parser.parse_args(arguments)
    if args.top < 1:
        parser.error(f"--top {args.top}: at least one image")
    if args.into is not None and args.dataset is None:
        parser.error("--into needs the ground truth of a --dataset")
    return args


def setup(args: argparse.Namespace) -> CfgNode:
    """The config of the model.

    Raises:
        ConfigError: it can't be used, or its answers have no maps of error probabilities.
    """
    cfg = make_inference_config(load_config(args.config_file, args.opts))
    cfg.defrost()
    for key, is_on in (("TEST.AUG.ENABLED", cfg.TEST.AUG.ENABLED), ("TEST.WINDOW.SIZE", cfg.TEST.WINDOW.SIZE)):
        if is_on:
            off = "False" if key == "TEST.AUG.ENABLED" else "0"
            raise ConfigError(f"{key}: errors are predicted of an image seen whole and once; set it to {off}")
    cfg.MODEL.UNIFIED.OUTPUT = "compact"
    if args.dataset:
        cfg.DATASETS.TEST = (args.dataset,)
    return resolve_config(cfg)


class ErrorPredictor:
    """A trained model, asked for the errors of images.

    Raises:
        CheckpointError, ConfigError: as `Predictor`.
    """

    def __init__(self, cfg: CfgNode):
        self.predictor = Predictor(cfg)
        self.head = cfg.MODEL.SEM_SEG_HEAD.NAME
        self.threshold = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.THRESHOLD
        self.table: ClassTable = dataset_classes(self.predictor.metadata)

    def measure(self, record: Record) -> Measures:
        """The errors of one image.

        Raises:
            ConfigError: the model predicts none.
            DataError: an image or ground truth that can't be used, or an answer that is none.
        """
        image = read_image(record["file_name"], "BGR")
        maps, size = self._maps(self.predictor(image)), (image.shape[0], image.shape[1])
        probability = maps["error"].probability(size)
        wrong, labeled = self.errors(record, maps, size)
        measures = Measures(
            predicted_error=float(maps["error_unbalanced"].probability(size).mean()),
            predicted_error_share=float((probability > self.threshold).float().mean()),
            mean_entropy=float(maps["uncorrected"].entropy(size).mean()),
            true_error=float(wrong.sum() / labeled.sum()) if labeled.any() else math.nan,
        )
        if not all(map(math.isfinite, measures[:-1])):
            raise DataError(f"{record['file_name']}: the model answers with logits that are not finite")
        return measures

    def draw(self, record: Record) -> tuple[np.ndarray, Panel]:
        """A row of pictures: the image, the answer, the error probability and, where there is ground truth, the true errors.

        Returns:
            The row, (h, w, 3) uint8, RGB; and the panel in it, for the legend.
        """
        image = read_image(record["file_name"], "BGR")
        outputs = self.predictor(image)
        maps, size = self._maps(outputs), (image.shape[0], image.shape[1])
        labels = get_label_map(outputs)
        assert labels is not None
        small = {"sem_seg_labels": _shrunk(labels.cpu().numpy(), cv2.INTER_NEAREST)}
        panel = make_panels(small, self.table)["semantic"]
        image = _shrunk(np.ascontiguousarray(image[:, :, ::-1]))
        probability = _shrunk(maps["error"].probability(size).cpu().numpy())
        pictures = [
            Picture(to_canvas(image), f"input {size[1]}×{size[0]}"),
            panel.draw(image),
            Picture(draw_probability(probability), "error probability: black 0, red 1"),
        ]
        wrong, labeled = self.errors(record, maps, size)
        if labeled.any():
            true = _shrunk(draw_true_errors(wrong, labeled))
            pictures.append(Picture(true, "true errors before correction; white: unlabeled"))
        return make_grid(pictures, len(pictures)), panel

    def errors(self, record: Record, maps: Mapping[str, LogitMap], size: Size) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) bool each: the pixels that the answer before correction has wrong, and those that have a label."""
        if not has_semantic_ground_truth(record):
            return np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        ground_truth = read_semantic_ground_truth(record, self.table, size=size)
        labeled = ground_truth != self.table.ignore_label
        return labeled & (maps["uncorrected"].labels(size).cpu().numpy() != ground_truth), labeled

    def _maps(self, outputs: Mapping[str, Any]) -> Mapping[str, LogitMap]:
        maps = outputs.get("semantic_logit_maps", {})
        if not {"error", "error_unbalanced", "uncorrected"} <= maps.keys():
            raise ConfigError(
                f"MODEL.SEM_SEG_HEAD.NAME: {self.head or 'no head'} predicts no errors, ErrorCorrectionHead does"
            )
        return maps


def write_csv(file: Path, ranked: Sequence[Ranked]) -> None:
    """A line for each image, in the given order; true_error where there is any."""
    with_ground_truth = any(not math.isnan(measures.true_error) for _, measures in ranked)
    columns = Measures._fields if with_ground_truth else Measures._fields[:-1]
    try:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["rank", "file_name", *columns])
            for rank, (record, measures) in enumerate(ranked, start=1):
                values = (getattr(measures, column) for column in columns)
                writer.writerow([rank, record["file_name"], *("" if math.isnan(v) else f"{v:.6f}" for v in values)])
    except OSError as error:
        raise DataError(f"{file} can't be written: {error.strerror}") from None


def draw_sheet(file: Path, model: ErrorPredictor, ranked: Sequence[Ranked]) -> None:
    """The rows of these images, by rank."""
    rows, panels = [], []
    for rank, (record, measures) in enumerate(tqdm(ranked, desc="drawing", unit="img", disable=None), start=1):
        row, panel = model.draw(record)
        caption = f"{rank}. {record['file_name']}: predicted error {100 * measures.predicted_error:.2f} %"
        if not math.isnan(measures.true_error):
            caption += f", true error {100 * measures.true_error:.2f} %"
        rows.append(Picture(row, caption))
        panels.append(panel)
    sheet = add_legend(make_grid(rows, 1), panels, model.table, "present")
    if not cv2.imwrite(str(file), sheet[:, :, ::-1]):
        raise DataError(f"{file} can't be written")


def correlate(ranked: Sequence[Ranked]) -> RankComparison | None:
    """How well predicted error, and entropy, rank the images that have ground truth; None without such images."""
    known = [measures for _, measures in ranked if not math.isnan(measures.true_error)]
    if not known:
        return None
    predicted_error, _, mean_entropy, true_error = np.array(known).T
    return compare_rankings(predicted_error, mean_entropy, true_error)


def summarize(ranked: Sequence[Ranked], comparison: RankComparison | None) -> dict[str, Any]:
    """The numbers of summary.json; null where there is none."""
    means: dict[str, float] = {name: fmean(getattr(m, name) for _, m in ranked) for name in Measures._fields[:-1]}
    true_errors = [m.true_error for _, m in ranked if not math.isnan(m.true_error)]
    summary: dict[str, Any] = {"images": len(ranked), "images_with_truth": len(true_errors), "mean": means}
    if comparison is not None:
        means["true_error"] = fmean(true_errors)
        names = ("predicted_error", "mean_entropy", "difference")
        summary["rank_correlation"] = {
            name: {bound: _known(value) for bound, value in interval._asdict().items()}
            for name, interval in zip(names, comparison)
        }
    return summary


def describe(comparison: RankComparison, images: int) -> str:
    words = ("predicted error", "softmax entropy", "difference")
    parts = [f"{word} {i.value:+.3f} [{i.low:+.3f}, {i.high:+.3f}]" for word, i in zip(words, comparison)]
    return f"rank correlation with the true error over {images} images, 95 % interval: {', '.join(parts)}"


def as_markdown(comparison: RankComparison, images: int, args: argparse.Namespace) -> str:
    words = ("predicted error", "mean softmax entropy", "difference")
    lines = [[word, f"{i.value:+.3f} [{i.low:+.3f}, {i.high:+.3f}]"] for word, i in zip(words, comparison)]
    headers = ["ranked by", "rank correlation with the true error"]
    table = tabulate(lines, headers, tablefmt="github", disable_numparse=True)
    return (
        f"{table}\n\n- {images} images of `{args.dataset}`, `{Path(args.config_file).as_posix()}`; in brackets the "
        "95 % bootstrap interval over the images."
    )


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    if args.into is not None:
        check_readme(args.into)
    records = find_records(args.input, args.dataset)
    make_writable(args.output)
    model = ErrorPredictor(cfg)
    measured = [(record, model.measure(record)) for record in tqdm(records, "predicting", unit="img", disable=None)]
    ranked = sorted(measured, key=lambda item: -item[1].predicted_error)
    write_csv(args.output / "ranking.csv", ranked)
    draw_sheet(args.output / "contact_sheet.png", model, ranked[: args.top])
    comparison = correlate(ranked)
    summary = summarize(ranked, comparison)
    source = {"config": args.config_file, "weights": cfg.MODEL.WEIGHTS, "dataset": args.dataset}
    write_json(args.output / "summary.json", {**source, "threshold": model.threshold, **summary})
    print(f"{len(ranked)} images ranked: {args.output}")
    if comparison is None:
        return
    print(describe(comparison, summary["images_with_truth"]))
    if args.into is not None:
        put_into(args.into, as_markdown(comparison, summary["images_with_truth"], args), MARKERS)


def check_readme(path: Path) -> None:
    """Raises DataError where there is no place for the table."""
    try:
        check_markers(path, MARKERS)
    except ValueError as error:
        raise DataError(f"--into {error}") from None


def _shrunk(picture: np.ndarray, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """At most SHEET_WIDTH wide."""
    height, width = picture.shape[:2]
    if width <= SHEET_WIDTH:
        return picture
    return cv2.resize(picture, (SHEET_WIDTH, max(1, round(height * SHEET_WIDTH / width))), interpolation=interpolation)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except (ConfigError, CheckpointError, DataError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
