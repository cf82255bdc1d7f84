"""The scores of a trained model on a data set, in PyTorch and exported to ONNX in each precision.

    python tools/benchmark.py precision --weights output/demo/model_final.pth --dataset unified_toyscapes_val \\
        --calibration output/demo/data/leftImg8bit/train
"""

import argparse
import json
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.resolve import resolve_config
from unified_seg.evaluation import build_evaluators
from unified_seg.export import GraphForm, export_model
from unified_seg.export.command import OVERRIDES
from unified_seg.export.exported_model import ExportedModel
from unified_seg.export.precision import PRECISIONS
from unified_seg.inference import Predictor
from unified_seg.inference.dataset_evaluation import evaluate_on_dataset
from unified_seg.inference.images import iterate_images
from unified_seg.inference.training_description import load_model_config
from unified_seg_cli import ToolParser
from unified_seg_files import write_text
from unified_seg_runtime import Predictor as RuntimePredictor

from .publish import format_command

# Not read: images have the size of the config.
SIZE = (1, 1)
SCORES = {"mIoU": ("sem_seg", "mIoU"), "AP": ("segm", "AP"), "PQ": ("panoptic_seg", "PQ")}


def add_arguments(parser: ToolParser) -> None:
    parser.add_argument("--weights", required=True, metavar="FILE", help="weights with their config and classes")
    parser.add_dataset()
    words = "images, not of the data set, for the ranges of int8 and the comparison of float32"
    parser.add_argument("--calibration", required=True, metavar="PATH", help=words)
    parser.add_count("--calibration-images", "the first images of --calibration", default=50)
    parser.add_overrides()


def report(args: argparse.Namespace, machine: str) -> None:
    """Evaluate the model and its graphs, print the scores, and write what --json names."""
    torch.set_num_threads(args.threads)
    cfg = load_model_config(args.weights, [*args.opts, *OVERRIDES], dataset=args.dataset)
    cfg = resolve_config(cfg, for_inference=True)
    predictor = Predictor(cfg)
    paths = islice(iterate_images(args.calibration), args.calibration_images)
    images = [(str(path), predictor.read(path)) for path in paths]
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as temporary:
        rows.append({"graph": "PyTorch", **evaluate(cfg, predictor.model, args.dataset, Path(temporary) / "torch")})
        for precision in PRECISIONS:
            folder = Path(temporary) / precision
            export_model(predictor, cfg, folder, images, GraphForm(precision=precision))
            exported = RuntimePredictor(folder, threads=args.threads)
            scores = evaluate(cfg, ExportedModel(exported), args.dataset, folder / "scores")
            size = (folder / exported.form.graph).stat().st_size / 1e6
            rows.append({"graph": f"ONNX, {precision}", **scores, "MB": round(size, 1)})
    print(tabulate(rows, headers="keys"))
    if args.json is not None:
        result = {"rows": rows, "machine": machine, "command": format_command(args.words)}
        write_text(args.json, json.dumps(result, indent=1) + "\n")


def evaluate(cfg: CfgNode, model: nn.Module, dataset: str, folder: Path) -> dict[str, float]:
    """Return the scores of a model on a data set, in percent."""
    evaluators = build_evaluators(cfg, dataset, str(folder))
    found = evaluate_on_dataset(model, build_test_loader(cfg, dataset), evaluators, title=folder.name)
    return {name: round(found[task][metric], 2) for name, (task, metric) in SCORES.items() if task in found}
