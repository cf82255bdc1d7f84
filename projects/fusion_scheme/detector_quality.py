#!/usr/bin/env python3
"""How good the detector must be before the fusion gains: the checkpoints of one training, each scored with the fusion.

    python projects/fusion_scheme/detector_quality.py \\
        --config-file projects/fusion_scheme/configs/toyscapes_unified.yaml \\
        --run output/fusion_scheme/toyscapes_unified --output output/detector_quality

Every numbered checkpoint of the run, and the final one, is evaluated as `tools/train_net.py --eval-only` does it, with
SemanticGuidedFusion whatever fusion the config names. What was scored before is skipped, so the same command goes on
after an interruption. The folder gets detector_quality.json, detector_quality.png and a folder a checkpoint.
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
from shared import make_parser, setup

from unified_seg.checkpoint import CheckpointError
from unified_seg.cli import run_tool
from unified_seg.config import CfgNode, ConfigError
from unified_seg.data.io.text_files import write_json
from unified_seg.inference.images import make_writable
from unified_seg.training.run import evaluate
from unified_seg.training.trainer import get_results_file

HELDOUT = "unified_toyscapes_heldout"  # choices are made there, never on val
NAME = "detector_quality"

# What is kept of an evaluation: name, task and metric.
SCORES = (
    ("mask_ap", "segm_unfused", "AP"),
    ("mask_ap_fused", "segm", "AP"),
    ("miou", "sem_seg_unfused", "mIoU"),
    ("miou_fused", "sem_seg", "mIoU"),
    ("pq", "panoptic_seg", "PQ"),
    *((f"{name}{suffix}", "recognition", f"{name}{suffix}")
      for suffix in ("", "_wide") for name in ("pixels", "pixels_fused", "boxes", "found")),
)  # fmt: skip
# What is drawn, a row of plots each: what the row shows, and of each curve its name, minuend and subtrahend.
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
    parser = make_parser(__doc__, HELDOUT)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="holds the checkpoints of a training")
    return parser.parse_args(arguments)


def settings_of(args: argparse.Namespace, weights: Path) -> CfgNode:
    return setup(args, "MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", str(args.output / weights.stem))


def find_checkpoints(run: Path) -> dict[int, Path]:
    """The checkpoints of a run by the number of iterations they were trained for, ascending; each number once.

    Raises:
        CheckpointError: none there, or one that is no checkpoint of a training.
    """
    checkpoints: dict[int, Path] = {}
    # The final one last, since a numbered one may be the same. model_best.pth does not know when it was.
    for path in [*sorted(run.glob("model_[0-9]*.pth")), *run.glob("model_final.pth")]:
        checkpoints.setdefault(iterations(path), path)
    if not checkpoints:
        raise CheckpointError(f"--run {run}: no model_<number>.pth and no model_final.pth in it")
    return dict(sorted(checkpoints.items()))


def iterations(checkpoint: Path) -> int:
    """How many iterations a checkpoint was trained for; the weights stay on disk."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        return int(content["iteration"]) + 1  # Detectron2 counts from 0
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{checkpoint}: no checkpoint of a training: {error!r}") from None


def score(cfg: CfgNode, checkpoint: Path) -> Mapping[str, Mapping[str, float]]:
    """The results of one checkpoint, by task and metric: those on disk, else those of an evaluation.

    Raises:
        ConfigError: what is on disk was made with another config.
    """
    settings = Path(cfg.OUTPUT_DIR) / "config.yaml"
    if settings.is_file() and settings.read_text(encoding="utf-8") != cfg.dump():
        raise ConfigError(f"{settings.parent} was made with another config: name another --output, or remove it")
    file = get_results_file(cfg)
    # A training that was repeated has newer checkpoints of the same names.
    if not file.is_file() or not settings.is_file() or file.stat().st_mtime < checkpoint.stat().st_mtime:
        evaluate(cfg)
        settings.write_text(cfg.dump(), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))["results"][cfg.DATASETS.TEST[0]]


def point_of(trained: int, checkpoint: Path, results: Mapping[str, Mapping[str, float]]) -> Point:
    """What is kept of an evaluation; a score that it lacks, or that no object allows, is null."""
    scores = {name: results.get(task, {}).get(metric) for name, task, metric in SCORES}
    return {"iterations": trained, "checkpoint": checkpoint.name, **scores}


def draw(points: Sequence[Point], title: str, file: Path) -> None:
    """The curves of each of ROWS, in percentage points, over each of COLUMNS."""
    figure, axes = plt.subplots(
        len(ROWS), len(COLUMNS), figsize=(11, 7), sharex="col", sharey="row", layout="constrained", squeeze=False
    )
    for row, (shows, curves) in zip(axes, ROWS):
        for axis, (key, label) in zip(row, COLUMNS):
            for name, high, low in curves:
                drawn = sorted((p[key], p[high] - p[low]) for p in points if None not in (p[key], p[high], p[low]))
                axis.plot([x for x, _ in drawn], [y for _, y in drawn], marker="o", markersize=4, label=name)
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
    """Write JSON and plot of the checkpoints so far."""
    content = {"run": args.run.name, "dataset": args.dataset, "config": str(args.config_file), "opts": args.opts}
    write_json(args.output / f"{NAME}.json", {**content, "points": list(points)})
    draw(points, f"{args.run.name} on {args.dataset}", args.output / f"{NAME}.png")


def run(args: argparse.Namespace) -> None:
    checkpoints = find_checkpoints(args.run)
    make_writable(args.output)
    points: list[Point] = []
    for trained, path in tqdm(checkpoints.items(), desc="checkpoints", unit="", disable=None):
        points.append(point_of(trained, path, score(settings_of(args, path), path)))
        publish(args, points)
    print(f"{len(points)} checkpoints: {args.output / NAME}.json, {args.output / NAME}.png")


def main(arguments: Sequence[str] | None = None) -> None:
    run_tool(partial(run, parse_args(arguments)))


if __name__ == "__main__":
    main()
