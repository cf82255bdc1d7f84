"""Count parameters, multiply-adds and activations of each part of a model."""

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis, parameter_count
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from unified_seg.checkpoint import Checkpointer
from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config
from unified_seg.inference.training_description import load_model_config

# detectron2.utils.analysis wraps the same counters, but in Detectron2 0.6 importing it needs Caffe2.
COUNTERS = {
    "flop": (FlopCountAnalysis, 1e9, "G multiply-adds"),
    "activation": (ActivationCountAnalysis, 1e6, "M activations"),
}


class TensorModel(nn.Module):
    """Wrapper of a Detectron2 model that maps a tensor to tensors, as fvcore's counters need it for tracing."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return all tensors in the outputs for an image (C, H, W) with values in [0, 255]."""
        return tuple(_tensors(self.model([{"image": image, "height": image.shape[1], "width": image.shape[2]}])))


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from _tensors(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from _tensors(value)
    elif hasattr(outputs, "get_fields"):  # Instances
        yield from _tensors(outputs.get_fields())
    elif isinstance(getattr(outputs, "tensor", None), Tensor):  # Boxes
        yield outputs.tensor


def random_images(cfg: CfgNode, count: int) -> Iterator[Tensor]:
    """Yield the same (C, H, W) noise images in each run, with H = INPUT.MIN_SIZE_TEST and W = INPUT.MAX_SIZE_TEST."""
    height = cfg.INPUT.MIN_SIZE_TEST or cfg.INPUT.MAX_SIZE_TEST
    width = max(height, cfg.INPUT.MAX_SIZE_TEST)
    shape = (len(cfg.MODEL.PIXEL_MEAN), height, width)
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_images(cfg: CfgNode, count: int) -> Iterator[Tensor]:
    """Yield the first images (C, H, W) of DATASETS.TEST in the size that the model gets."""
    for batch in islice(build_test_loader(cfg, cfg.DATASETS.TEST[0]), count):
        yield batch[0]["image"]


def select_images(cfg: CfgNode, count: int, random: bool) -> tuple[Iterable[Tensor], int, str]:
    """Return the images to count on, their number, and a description of them."""
    name = cfg.DATASETS.TEST[0] if cfg.DATASETS.TEST else None
    if name and not random:
        try:
            available = len(DatasetCatalog.get(name))
            count = min(count, available)
            return test_images(cfg, count), count, f"the first {count} images of {name}"
        except (DataError, OSError):
            pass  # not on disk; counting needs neither labels nor real images
    images = list(random_images(cfg, count))
    height, width = images[0].shape[1:]
    return images, count, f"{count} random images of {width}×{height}"


def count_by_module(model: nn.Module, images: Iterable[Tensor], counter: Callable[..., Any], total: int) -> np.ndarray:
    """Count for each part of the model and, in the last column, for the whole model.

    Returns:
        (images, parts + 1) float64.
    """
    wrapper = TensorModel(model)
    rows = []
    for image in tqdm(images, total=total, desc="counting", unit="img", disable=None):
        # Tracing warns about each branch on a value, the counters about each operator of negligible cost.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            analysis = counter(wrapper, (image,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counts = analysis.tracer_warnings("none").by_module()
        rows.append([*(counts.get(f"model.{part}", 0) for part in part_names(model)), counts[""]])
    return np.array(rows, dtype=np.float64)


def part_names(model: nn.Module) -> list[str]:
    """Return the names of the model's direct children that have parameters."""
    return [name for name, part in model.named_children() if any(True for _ in part.parameters())]


def cost_table(model: nn.Module, counts: np.ndarray, unit: float, title: str) -> str:
    """Format the result of `count_by_module`; the row `rest` is work outside the parts, such as resampling."""
    counts = np.column_stack([counts[:, :-1], counts[:, -1] - counts[:, :-1].sum(axis=1), counts[:, -1]]) / unit
    mean = counts.mean(axis=0)
    names = [*part_names(model), "rest", "all"]
    return tabulate(
        list(zip(names, mean, counts.std(axis=0), 100 * mean / (mean[-1] or 1.0))),
        headers=["part", title, "± over images", "%"],
        floatfmt=("", ".3f", ".3f", ".1f"),
    )


def parameter_table(model: nn.Module) -> str:
    """Format the number of parameters, and of trained ones, of each part."""
    counts = parameter_count(model)
    rows = []
    for name in [*part_names(model), ""]:
        part = model.get_submodule(name)
        trained = sum(p.numel() for p in part.parameters() if p.requires_grad)
        rows.append((name or "all", counts[name], trained, 100 * counts[name] / max(1, counts[""])))
    return tabulate(rows, headers=["part", "parameters", "trained", "%"], floatfmt=".1f", intfmt=",")


def build(cfg: CfgNode, required: bool) -> nn.Module:
    """Build the model and load its weights if they are on disk: the cost of a detector depends on what it finds.

    Args:
        cfg: a resolved config.
        required: whether missing weights are an error, because the user named them.

    Raises:
        CheckpointError: the weights are required and missing, or do not fit the model.
    """
    model = build_model(cfg).eval()
    if cfg.MODEL.WEIGHTS and (required or Path(cfg.MODEL.WEIGHTS).is_file()):
        Checkpointer(model).load(cfg.MODEL.WEIGHTS)
    return model


def run(args: argparse.Namespace) -> None:
    overrides = ["DATALOADER.NUM_WORKERS", "0", *args.opts]
    if COUNTERS.keys() & set(args.tasks):
        # The fusion has no parameters, and its compiled loops refuse the tensors that tracing makes of sizes.
        overrides += ["MODEL.PANOPTIC_FUSION.NAME", "", "MODEL.UNIFIED.OUTPUT", "detectron2"]
    cfg = load_model_config(args.weights, overrides, config_file=args.config_file, dataset=args.dataset)
    cfg = resolve_config(cfg, for_inference=True)
    model = build(cfg, required=bool(args.weights) or "MODEL.WEIGHTS" in args.opts)
    for task in args.tasks:
        if task == "structure":
            print(model)
        elif task == "parameter":
            print(parameter_table(model))
        else:
            counter, unit, title = COUNTERS[task]
            images, count, description = select_images(cfg, args.num_images, args.random)
            counts = count_by_module(model, images, counter, count)
            print(f"{title}, mean over {description}\n{cost_table(model, counts, unit, title)}")
        print()
