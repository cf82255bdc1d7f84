#!/usr/bin/env python3
"""Score the checkpoints of one training with the fusion: which quality of the detector does it need?

    python projects/fusion_scheme/detector_quality.py \\
        --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --run output/fusion_scheme/toyscapes_unified --output output/detector_quality

Every numbered checkpoint of the run, and the final one, is evaluated as by `tools/train_net.py --eval-only`, with
SemanticGuidedFusion whatever the config names. Checkpoints that were scored before are skipped, so the same command
resumes after an interruption. The folder gets detector_quality.json, detector_quality.png and a folder per checkpoint.
"""

import argparse
import json
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import torch
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from shared import create_parser, read_config

from unified_seg.checkpoint import CheckpointError
from unified_seg.config import CfgNode, ConfigError
from unified_seg.data.io.text_files import write_json
from unified_seg.inference.images import make_writable
from unified_seg.training.run import evaluate
from unified_seg.training.test_sets import get_results_file
from unified_seg_cli import run_tool

HELDOUT = "unified_toyscapes_heldout"  # for choices, which are never made on val
NAME = "detector_quality"

# Scores of an evaluation to write: name, task and metric.
SCORES = (
    ("mask_ap", "segm_unfused", "AP"),
    ("mask_ap_fused", "segm", "AP"),
    ("miou", "sem_seg_unfused", "mIoU"),
    ("miou_fused", "sem_seg", "mIoU"),
    ("pq", "panoptic_seg", "PQ"),
    *((f"{name}{suffix}", "recognition", f"{name}{suffix}")
      for suffix in ("", "_wide") for name in ("pixels", "pixels_fused", "boxes", "found")),
)  # fmt: skip
# Rows of plots: what the row shows, and for each curve its name, minuend and subtrahend.
ROWS = (
    ("after − before the fusion", (("mIoU", "miou_fused", "miou"), ("mask AP", "mask_ap_fused", "mask_ap"))),
    (
        "class right: boxes − pixels",
        (("all objects", "boxes", "pixels"), ("wider than a third of the image", "boxes_wide", "pixels_wide")),
    ),
)
COLUMNS = (("iterations", "training iterations"), ("mask_ap", "mask AP before the fusion"))

Point = dict[str, Any]


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    help = f"a registered data set with its ground truth; default: {HELDOUT}"
    parser = create_parser(__doc__, default=HELDOUT, help=help)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="holds the checkpoints of a training")
    return parser.parse_args(arguments)


def configure(args: argparse.Namespace, weights: Path) -> CfgNode:
    """Return the config that evaluates a checkpoint in a folder of its own."""
    return read_config(args, "MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(args.output / weights.stem))


def find_checkpoints(run: Path) -> dict[int, Path]:
    """Return the checkpoints of a run by the number of iterations that they were trained for, ascending.

    Raises:
        CheckpointError: no checkpoint, or a file that is no checkpoint of a training.
    """
    checkpoints: dict[int, Path] = {}
    # The final one last, since a numbered one may be the same. model_best.pth lacks its iteration.
    for path in [*sorted(run.glob("model_[0-9]*.pth")), *run.glob("model_final.pth")]:
        checkpoints.setdefault(read_iterations(path), path)
    if not checkpoints:
        raise CheckpointError(f"--run {run}: expected model_<number>.pth or model_final.pth in it")
    return dict(sorted(checkpoints.items()))


def read_iterations(checkpoint: Path) -> int:
    """Return how many iterations a checkpoint was trained for, without reading the weights."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        return int(content["iteration"]) + 1  # Detectron2 counts from 0
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{checkpoint}: not a checkpoint of a training: {error!r}") from None


def score_checkpoint(cfg: CfgNode, checkpoint: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the results of one checkpoint by task and metric; evaluate it unless they are on disk.

    Raises:
        ConfigError: the results on disk are of another config.
    """
    settings = Path(cfg.OUTPUT_DIR) / "config.yaml"
    if settings.is_file() and settings.read_text(encoding="utf-8") != cfg.dump():
        raise ConfigError(f"{settings.parent}: evaluated with another config; name another --output, or remove it")
    file = get_results_file(cfg)
    # A repeated training has newer checkpoints of the same names.
    if not file.is_file() or not settings.is_file() or file.stat().st_mtime < checkpoint.stat().st_mtime:
        evaluate(cfg)
        settings.write_text(cfg.dump(), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))["results"][cfg.DATASETS.TEST[0]]


def select_scores(trained: int, checkpoint: Path, results: Mapping[str, Mapping[str, float]]) -> Point:
    """Return the SCORES of an evaluation; None for a score that it lacks or that has no object."""
    scores = {name: results.get(task, {}).get(metric) for name, task, metric in SCORES}
    return {"iterations": trained, "checkpoint": checkpoint.name, **scores}


def list_curves(points: Sequence[Point]) -> list[list[dict[str, list[tuple[float, float]]]]]:
    """Return by row of ROWS and column of COLUMNS the (x, y) points of each curve, y in percentage points."""
    return [
        [
            {
                name: sorted((p[x], p[high] - p[low]) for p in points if None not in (p[x], p[high], p[low]))
                for name, high, low in curves
            }
            for x, _ in COLUMNS
        ]
        for _, curves in ROWS
    ]


def draw_curves(points: Sequence[Point], title: str, file: Path) -> None:
    """Draw a plot for each of ROWS and COLUMNS."""
    figure, axes = plt.subplots(
        len(ROWS), len(COLUMNS), figsize=(11, 7), sharex="col", sharey="row", layout="constrained", squeeze=False
    )
    for row, curves_of_row, (shows, _) in zip(axes, list_curves(points), ROWS):
        for axis, curves, (_, label) in zip(row, curves_of_row, COLUMNS):
            for name, curve in curves.items():
                axis.plot([x for x, _ in curve], [y for _, y in curve], marker="o", markersize=4, label=name)
            axis.axhline(0, color="0.4", linewidth=0.8)
            axis.grid(color="0.9")
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelbottom=True)
            axis.set_xlabel(label)
        row[0].set_ylabel(f"{shows}, points")
        row[0].legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def publish(args: argparse.Namespace, points: Sequence[Point]) -> None:
    """Write JSON and plot of the checkpoints that are scored so far."""
    content = {"run": args.run.name, "dataset": args.dataset, "config": str(args.config_file), "opts": args.opts}
    write_json(args.output / f"{NAME}.json", {**content, "points": list(points)})
    draw_curves(points, f"{args.run.name} on {args.dataset}", args.output / f"{NAME}.png")


def run(args: argparse.Namespace) -> None:
    checkpoints = find_checkpoints(args.run)
    make_writable(args.output)
    points: list[Point] = []
    for trained, path in tqdm(checkpoints.items(), desc="checkpoints", unit="", disable=None):
        points.append(select_scores(trained, path, score_checkpoint(configure(args, path), path)))
        publish(args, points)
    print(f"{len(points)} checkpoints: {args.output / NAME}.json, {args.output / NAME}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
