"""Rank images by how wrong or unsure a model is about them."""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from unified_seg.config import CfgNode, ConfigError, make_inference_config
from unified_seg.config.heads import nested_heads
from unified_seg.data.datasets.registration import dataset_classes
from unified_seg.data.io.image_files import read_image_size, read_picture
from unified_seg.data.io.semantic_labels import has_semantic_ground_truth, read_semantic_ground_truth
from unified_seg.data.io.text_files import write_json
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation.model_outputs import get_label_map
from unified_seg.heads.error_correction.panels import draw_probability, draw_true_errors
from unified_seg.inference import Predictor
from unified_seg.inference.images import LeftOutFiles, find_records, find_roots, leave_out_output, make_writable
from unified_seg.inference.training_description import load_model_config
from unified_seg.meta_arch.pooled_features import POOLED_FEATURES, add_pooled_features
from unified_seg.reporting.contact_sheet import arrange_tiles, choose_cell, fit_into_cell, make_tile, write_jpeg
from unified_seg.reporting.diversity import choose_diverse
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
from unified_seg.structures.logit_map import compute_entropy
from unified_seg.visualization import Picture, add_legend
from unified_seg.visualization.panels import Panel, make_panels
from unified_seg_files import escape_unprintable

MARKERS = "ranking"  # the table in a README
MAX_SHEET_BYTES = 2_000_000
ERROR_HEAD = "ErrorCorrectionHead"

Record = dict[str, Any]
Size = tuple[int, int]


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config of the model.

    Raises:
        CheckpointError: weights that can't be read, or without a config.
        ConfigError: the config can't be used, or its error branch can't be used with it.
    """
    cfg = load_model_config(args.weights, args.opts, config_file=args.config_file, dataset=args.dataset)
    cfg = make_inference_config(cfg)
    cfg.defrost()
    predicts_errors = ERROR_HEAD in nested_heads(cfg)
    for key, is_on in (("TEST.AUG.ENABLED", cfg.TEST.AUG.ENABLED), ("TEST.WINDOW.SIZE", cfg.TEST.WINDOW.SIZE)):
        if is_on and predicts_errors:
            off = "False" if key == "TEST.AUG.ENABLED" else "0"
            raise ConfigError(f"{key}: must be {off}, errors are only predicted for a whole image in a single view")
    # The compact output has the error probabilities, the other one the logits of all classes.
    cfg.MODEL.UNIFIED.OUTPUT = "compact" if predicts_errors else "detectron2"
    return resolve_config(cfg)


class Uncertainty(NamedTuple):
    """What a model knows of its own errors in an image.

    Attributes:
        map: (H, W) in [0, 1], where the model may be wrong; None of a detector alone.
        name: of the map, for captions.
        predicted_error, predicted_error_share, mean_entropy: see `Measures`.
        labels: (H, W) the semantic ids whose errors are meant; None of a detector alone.
    """

    map: np.ndarray | None
    name: str
    predicted_error: float
    predicted_error_share: float
    mean_entropy: float
    labels: np.ndarray | None


class ErrorPredictor:
    """A trained model that predicts the errors of its semantic map, or whose entropy tells where it is unsure.

    Raises:
        CheckpointError, ConfigError: see `Predictor`.
    """

    def __init__(self, cfg: CfgNode):
        self.predictor = Predictor(cfg)
        self.predicts_errors = ERROR_HEAD in nested_heads(cfg)
        self.threshold = cfg.MODEL.SEM_SEG_HEAD.ERROR_CORRECTION.THRESHOLD
        self.table: ClassTable = dataset_classes(self.predictor.metadata)
        add_pooled_features(self.predictor.model)

    def measure_all(self, records: Sequence[Record]) -> Iterator[tuple[Record, Future[tuple[Measures, Any]]]]:
        """Yield each record with a future of `measure`; see `Predictor.predict_all`."""
        return self.predictor.predict_all(records, self._read, self.measure)

    def draw_all(self, records: Sequence[Record], cell: Size) -> Iterator[tuple[Record, Future[Any]]]:
        """Yield each record with a future of `draw`; see `Predictor.predict_all`."""
        return self.predictor.predict_all(
            records, self._read, lambda record, image, outputs: self.draw(record, image, outputs, cell)
        )

    def measure(
        self, record: Record, image: np.ndarray, outputs: Mapping[str, Any]
    ) -> tuple[Measures, np.ndarray | None]:
        """Return the predicted and the true error of one image, and its pooled features if the model has some.

        Raises:
            DataError: a ground truth that can't be used, or a prediction that is not finite.
        """
        size = (image.shape[0], image.shape[1])
        found = self.find_uncertainty(record, outputs, size)
        wrong, labeled = self.find_errors(record, found, size)
        true_error = float(wrong.sum() / labeled.sum()) if labeled.any() else math.nan
        features = outputs.get(POOLED_FEATURES)
        return (
            Measures(found.predicted_error, found.predicted_error_share, found.mean_entropy, true_error),
            None if features is None else features.cpu().numpy(),
        )

    def find_uncertainty(self, record: Record, outputs: Mapping[str, Any], size: Size) -> Uncertainty:
        """Return what the outputs of an image tell of its errors.

        Raises:
            DataError: a prediction is not finite.
        """
        if self.predicts_errors:
            maps = outputs["semantic_logit_maps"]
            probability = maps["error"].probability(size)
            found = Uncertainty(
                map=probability.cpu().numpy(),
                name="error probability",
                predicted_error=float(maps["error_unbalanced"].probability(size).mean()),
                predicted_error_share=float((probability > self.threshold).float().mean()),
                mean_entropy=float(maps["uncorrected"].entropy(size).mean()),
                labels=maps["uncorrected"].labels(size).cpu().numpy(),
            )
        elif "sem_seg" in outputs:
            entropy = compute_entropy(outputs["sem_seg"])
            labels = outputs["sem_seg"].argmax(dim=0).cpu().numpy()
            found = Uncertainty(entropy.cpu().numpy(), "entropy", math.nan, math.nan, float(entropy.mean()), labels)
        else:
            scores = outputs["instances"].scores.double()
            entropy = compute_entropy(torch.stack([scores, 1 - scores]).clamp(min=1e-9).log())
            mean = float(entropy.mean()) if len(scores) else 0.0
            found = Uncertainty(None, "entropy", math.nan, math.nan, mean, None)
        numbers = [found.mean_entropy]
        numbers += [found.predicted_error, found.predicted_error_share] if self.predicts_errors else []
        if not all(map(math.isfinite, numbers)):
            raise DataError(f"{record['file_name']}: the model predicts logits that are not finite")
        return found

    def draw(
        self, record: Record, image: np.ndarray, outputs: Mapping[str, Any], cell: Size
    ) -> tuple[list[Picture], Panel]:
        """Draw the image, the prediction, where the model is unsure and, with ground truth, the true errors.

        Returns:
            The pictures, each of the size of a cell, and the panel of the prediction for the legend.
        """
        size = (image.shape[0], image.shape[1])
        found = self.find_uncertainty(record, outputs, size)
        picture = read_picture(record["file_name"])
        panels = make_panels(_keep_plain(outputs), self.table)
        panel = panels["semantic"] if "semantic" in panels else panels["instances"]
        drawn = {f"input {size[1]}×{size[0]}": picture, panel.caption: panel.draw(picture).pixels}
        if found.map is not None:
            drawn[f"{found.name}: black 0, red 1"] = draw_probability(found.map)
        wrong, labeled = self.find_errors(record, found, size)
        if labeled.any():
            drawn["true errors" + (" before correction" if self.predicts_errors else "")] = draw_true_errors(
                wrong, labeled
            )
        return [Picture(fit_into_cell(pixels, cell), caption) for caption, pixels in drawn.items()], panel

    def find_errors(self, record: Record, found: Uncertainty, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Return two (H, W) bool maps: pixels that are wrong, before a correction, and labeled pixels."""
        if found.labels is None or not has_semantic_ground_truth(record):
            return np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        ground_truth = read_semantic_ground_truth(record, self.table, size=size)
        labeled = ground_truth != self.table.ignore_label
        return labeled & (found.labels != ground_truth), labeled

    def _read(self, record: Record) -> np.ndarray:
        return self.predictor.read(record["file_name"])


def _keep_plain(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the semantic map, or without one the instances."""
    labels = get_label_map(outputs)
    return {"instances": outputs["instances"]} if labels is None else {"sem_seg_labels": labels}


def put_diverse_first(ranked: Sequence[Ranked], features: Sequence[np.ndarray | None], count: int) -> list[Ranked]:
    """Return the images in another order: first `count` of the first ones that are not alike, see `choose_diverse`.

    Both parts stay in their order. Without features nothing changes.
    """
    known = [each for each in features if each is not None]
    if not known or len(known) < len(ranked):
        return list(ranked)
    chosen = set(choose_diverse(np.stack(known), count))
    return [each for is_first in (True, False) for i, each in enumerate(ranked) if (i in chosen) == is_first]


def draw_sheet(file: Path, model: ErrorPredictor, ranked: Sequence[Ranked], left_out: LeftOutFiles) -> None:
    """Draw an equal tile for each of the ranked images; `left_out` gets those that can't be drawn.

    Raises:
        DataError: the file can't be written.
    """
    records = [record for record, _ in ranked]
    cell = choose_cell([read_image_size(record["file_name"]) for record in records])
    rows, panels = [], []
    drawn = tqdm(model.draw_all(records, cell), "drawing", len(ranked), unit="img", disable=None)
    for rank, ((record, measures), (_, future)) in enumerate(zip(ranked, drawn, strict=True), start=1):
        pictures: list[Picture] = []
        with left_out.collect(record["file_name"]):
            pictures, panel = future.result()
            panels.append(panel)
        if pictures:
            rows.append((pictures, _describe_tile(rank, record, measures)))
    if not rows:
        return
    num_cells = max(len(pictures) for pictures, _ in rows)
    sheet = arrange_tiles([make_tile(pictures, caption, num_cells) for pictures, caption in rows])
    write_jpeg(file, add_legend(sheet, panels, model.table, "present"), MAX_SHEET_BYTES)


def _describe_tile(rank: int, record: Record, measures: Measures) -> str:
    what = "entropy" if math.isnan(measures.predicted_error) else "predicted error"
    caption = f"{rank}. {escape_unprintable(Path(record['file_name']).name)}: {what} {100 * measures.uncertainty:.2f} %"
    return caption + (f", true error {100 * measures.true_error:.2f} %" if measures.has_true_error else "")


def run(args: argparse.Namespace) -> None:
    cfg = setup(args)
    if args.into is not None:
        read_with_markers(args.into, MARKERS)
    records = find_records(args.input, args.dataset, cfg)
    records = leave_out_output(records, find_roots(args.input or ()), args.output)
    make_writable(args.output)
    model = ErrorPredictor(cfg)
    measured, left_out = [], LeftOutFiles()
    for record, future in tqdm(model.measure_all(records), "predicting", len(records), unit="img", disable=None):
        with left_out.collect(record["file_name"]):
            measured.append((record, *future.result()))
    if not measured:
        left_out.raise_any(len(records))
    measured.sort(key=lambda item: -item[1].uncertainty)
    ranked: list[Ranked] = [(record, measures) for record, measures, _ in measured]
    if args.diversity:
        ranked = put_diverse_first(ranked, [features for *_, features in measured], args.top)
    write_ranking(args.output / "ranking.csv", ranked)
    draw_sheet(args.output / "contact_sheet.jpg", model, ranked[: args.top], left_out)
    comparison = compare_rankings(ranked)
    summary = summarize(ranked, comparison)
    source = {"config": args.config_file or None, "weights": cfg.MODEL.WEIGHTS, "dataset": args.dataset}
    write_json(args.output / "summary.json", {**source, "threshold": model.threshold, **summary})
    by = "predicted error" if model.predicts_errors else "entropy"
    print(f"{len(ranked)} images ranked by {by}: {args.output}")
    if comparison is not None:
        known = (comparison, summary["images_with_ground_truth"], model.predicts_errors)
        print(describe(*known))
        if args.into is not None:
            model_file = args.config_file or cfg.MODEL.WEIGHTS
            table = format_table(*known, dataset=args.dataset, model_file=model_file)
            replace_table(args.into, MARKERS, table)
    left_out.raise_any(len(records))
