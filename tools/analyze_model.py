#!/usr/bin/env python3
"""Say what a model costs, part by part: parameters, multiply-adds, activations; or print its structure.

    python tools/analyze_model.py --tasks parameter flop --config-file configs/toyscapes/unified_demo.yaml
    python tools/analyze_model.py --tasks flop activation --num-inputs 20 --config-file ... \\
        MODEL.WEIGHTS output/demo/model_final.pth

What the detector does depends on what it finds, so its numbers are averages over the first images of DATASETS.TEST,
or over random images of the test size where that set is not on disk, or --random asks for them.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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

from unified_seg import load_config
from unified_seg.checkpoint import Checkpointer, CheckpointError
from unified_seg.config import ConfigError
from unified_seg.data.pipeline.loaders import build_test_loader
from unified_seg.data.problems import DataError
from unified_seg.data.resolve import resolve_config

# detectron2.utils.analysis wraps the same counters, but in Detectron2 0.6 importing it needs Caffe2.
COUNTERS = {
    "flop": (FlopCountAnalysis, 1e9, "G multiply-adds"),
    "activation": (ActivationCountAnalysis, 1e6, "M activations"),
}


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", choices=(*COUNTERS, "parameter", "structure"), nargs="+", required=True)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("-n", "--num-inputs", type=int, default=10, metavar="N", help="images that counts average over")
    parser.add_argument("--random", action="store_true", help="random images even where the data set is on disk")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config overrides: KEY VALUE ...")
    args = parser.parse_args(arguments)
    if args.num_inputs < 1:
        parser.error(f"--num-inputs {args.num_inputs}: at least one")
    return args


class TensorModel(nn.Module):
    """A model of Detectron2's kind, from a tensor to tensors, as the counters ask of what they trace."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """image: (C, H, W), 0 to 255."""
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
    """(3, H, W) noise, always the same, as high as MIN_SIZE_TEST and as wide as MAX_SIZE_TEST."""
    height = cfg.INPUT.MIN_SIZE_TEST or cfg.INPUT.MAX_SIZE_TEST
    width = max(height, cfg.INPUT.MAX_SIZE_TEST)
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_images(cfg: CfgNode, count: int) -> Iterator[Tensor]:
    """(3, H, W): the first images of DATASETS.TEST, sized as the model gets them."""
    for batch in islice(build_test_loader(cfg, cfg.DATASETS.TEST[0]), count):
        yield batch[0]["image"]


def images_for(cfg: CfgNode, count: int, random: bool) -> tuple[Iterable[Tensor], int, str]:
    """The inputs to count on, their number, and what they are in words."""
    name = cfg.DATASETS.TEST[0] if cfg.DATASETS.TEST else None
    if name and not random:
        try:
            available = len(DatasetCatalog.get(name))
            count = min(count, available)
            return test_images(cfg, count), count, f"the first {count} images of {name}"
        except (DataError, OSError):
            pass  # not on disk: counting needs no labels and no real images
    images = list(random_images(cfg, count))
    height, width = images[0].shape[1:]
    return images, count, f"{count} random images of {width}×{height}"


def count_by_module(model: nn.Module, images: Iterable[Tensor], counter: Callable[..., Any], total: int) -> np.ndarray:
    """Counts of each part of the model and, last, of all.

    Returns:
        (images, parts + 1) float.
    """
    wrapper = TensorModel(model)
    rows = []
    for image in tqdm(images, total=total, desc="counting", unit="img", disable=None):
        # Tracing warns of every branch on a value, and the counters of every operator that costs next to nothing.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            analysis = counter(wrapper, (image,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            counts = analysis.tracer_warnings("none").by_module()
        rows.append([*(counts.get(f"model.{part}", 0) for part in parts_of(model)), counts[""]])
    return np.array(rows, dtype=np.float64)


def parts_of(model: nn.Module) -> list[str]:
    """The names of the model's direct parts that hold parameters."""
    return [name for name, part in model.named_children() if any(True for _ in part.parameters())]


def cost_table(model: nn.Module, counts: np.ndarray, unit: float, title: str) -> str:
    """A table of what `count_by_module` returns; `rest` is what no part holds, such as resampling."""
    counts = np.column_stack([counts[:, :-1], counts[:, -1] - counts[:, :-1].sum(axis=1), counts[:, -1]]) / unit
    mean = counts.mean(axis=0)
    names = [*parts_of(model), "rest", "all"]
    return tabulate(
        list(zip(names, mean, counts.std(axis=0), 100 * mean / (mean[-1] or 1.0))),
        headers=["part", title, "± over images", "%"],
        floatfmt=("", ".3f", ".3f", ".1f"),
    )


def parameter_table(model: nn.Module) -> str:
    counts = parameter_count(model)
    rows = []
    for name in [*parts_of(model), ""]:
        part = model.get_submodule(name)
        trained = sum(p.numel() for p in part.parameters() if p.requires_grad)
        rows.append((name or "all", counts[name], trained, 100 * counts[name] / max(1, counts[""])))
    return tabulate(rows, headers=["part", "parameters", "trained", "%"], floatfmt=".1f", intfmt=",")


def build(cfg: CfgNode, required: bool) -> nn.Module:
    """The model, with its weights where they are on disk: the counts of a detector depend on them a little.

    Args:
        required: the user named the weights, so that a missing file is an error.
    """
    model = build_model(cfg).eval()
    if cfg.MODEL.WEIGHTS and (required or Path(cfg.MODEL.WEIGHTS).is_file()):
        Checkpointer(model).load(cfg.MODEL.WEIGHTS)
    return model


def run(args: argparse.Namespace) -> None:
    overrides = ["DATALOADER.NUM_WORKERS", "0", *args.opts]
    cfg = load_config(args.config_file, overrides, defaults=["MODEL.UNIFIED.OUTPUT", "compact"])
    cfg = resolve_config(cfg, for_inference=True)
    model = build(cfg, required="MODEL.WEIGHTS" in args.opts)
    for task in args.tasks:
        if task == "structure":
            print(model)
        elif task == "parameter":
            print(parameter_table(model))
        else:
            counter, unit, title = COUNTERS[task]
            images, count, description = images_for(cfg, args.num_inputs, args.random)
            counts = count_by_module(model, images, counter, count)
            print(f"{title}, mean over {description}\n{cost_table(model, counts, unit, title)}")
        print()


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        run(parse_args(arguments))
    except (ConfigError, CheckpointError, DataError) as error:
        # What a user can mend, without a traceback.
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
