"""Evaluation of a data set with reading, predicting and scoring at the same time, against Detectron2's loop.

The time is from the files to all scores. The loop of Detectron2, `inference_on_dataset`, reads, predicts and scores one
image after the other, each step with all cores that it can use.
"""

import argparse
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import inference_on_dataset

from toyscapes import generate
from unified_seg import load_config
from unified_seg.checkpoint import Checkpointer
from unified_seg.config import CfgNode
from unified_seg.data.datasets.cityscapes import register_cityscapes_like
from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import build_evaluators
from unified_seg.inference.dataset_evaluation import evaluate_on_dataset
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .models import MERGE, SEED, build_unified

SIZE = (128, 256)
#: Of the data sets, until the process ends.
FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "toyscapes" / "unified_demo.yaml"


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)
    weights = "weights of the config; default: random ones, with a score threshold of 0"
    parser.add_argument("--weights", default="", metavar="FILE", help=weights)
    parser.add_count("--images", "images of the data set", default=24)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparison; raises CheckpointError for weights that can't be used."""
    evaluate = partial(prepare, args.config_file, args.weights, args.device, args.size, args.images)
    scenes = f"{args.images} Toyscapes scenes (demo, seed {SEED}), {args.size[0]}x{args.size[1]}"
    return [
        Comparison(
            name="evaluation, several images at a time",
            against="Detectron2's inference_on_dataset, one image after the other",
            inputs=f"{scenes}, with {args.config_file.name} and {'trained' if args.weights else 'random'} weights",
            method=partial(evaluate, peer=False),
            peer=partial(evaluate, peer=True),
            equal="all scores, to 1e-4 points",
            assert_equal=assert_equal_scores,
        )
    ]


def prepare(config_file: Path, weights: str, device: str, size: tuple[int, int], images: int, peer: bool) -> Call:
    """Prepare an evaluation of the method or the peer."""
    overrides = ["MODEL.DEVICE", device, "MODEL.UNIFIED.OUTPUT", "compact", "DATALOADER.NUM_WORKERS", "0", *MERGE]
    if not weights:
        overrides += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
        overrides += ["MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.0"]
    cfg = load_config(config_file, overrides)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (make_dataset(size, images),)
    cfg = resolve_config(cfg, for_inference=True)
    model = build_unified(cfg).eval()
    if weights:
        Checkpointer(model).load(weights)
    return partial(evaluate, cfg, model, peer)


@cache
def make_dataset(size: tuple[int, int], images: int) -> str:
    """Generate a data set in a folder that goes with this process, and register it; return its name."""
    folder = tempfile.TemporaryDirectory()
    FOLDERS.append(folder)
    root = Path(folder.name) / "toyscapes"
    generate(root, counts={"train": 0, "heldout": 0, "val": images}, size=size, seed=SEED, workers=1)
    name = f"benchmark_{size[0]}x{size[1]}_{images}"
    register_cityscapes_like(name, root, "val")
    return name


def evaluate(cfg: CfgNode, model: torch.nn.Module, peer: bool) -> dict[str, Any]:
    """Return the scores of all tasks."""
    (name,) = cfg.DATASETS.TEST
    with tempfile.TemporaryDirectory() as folder:
        evaluators, loader = build_evaluators(cfg, name, folder), build_test_loader(cfg, name)
        if peer:
            return inference_on_dataset(model, loader, evaluators)
        return evaluate_on_dataset(model, loader, evaluators, show_progress=False)


def assert_equal_scores(method: dict[str, Any], peer: dict[str, Any]) -> None:
    """Assert that all scores are equal but for rounding, which depends on the threads of a network; NaN equals NaN."""
    assert method.keys() == peer.keys()
    for task, scores in method.items():
        assert scores.keys() == peer[task].keys(), task
        for name, score in scores.items():
            np.testing.assert_allclose(score, peer[task][name], rtol=0, atol=1e-4, err_msg=f"{task} {name}")
