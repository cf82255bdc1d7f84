"""The pyramidal output against the same network with a single output, in a training step and in inference.

Both networks have the same backbone and the same common parts of the head with the same weights. A training step is
forward pass, backward pass and optimizer step; inference is from the image to the label map.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model
from unified_seg.training.optimizer import build_optimizer
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .infer import infer
from .inputs import toyscapes_batch
from .models import SEED
from .train import OVERRIDES, TrainingStep

SIZE = (256, 512)
CONFIG = Path(__file__).resolve().parents[2] / "projects/specialize_and_fuse/configs/toyscapes_pyramidal.yaml"
OUTPUT = "MODEL.SEM_SEG_HEAD.PYRAMID.OUTPUT"


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)
    parser.add_count("--batch", "images in a training step", default=4)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return two comparisons; raises ConfigError for a config without the pyramidal output."""
    read_config(args.config_file, args.device, single=False)
    step = partial(prepare_step, args.config_file, args.device, args.size, args.batch)
    inference = partial(prepare_inference, args.config_file, args.device, args.size)
    scene = f"Toyscapes (standard, seed {SEED}), {args.size[0]}x{args.size[1]}"
    common: dict[str, Any] = {
        "against": "the same network with a single output",
        "equal": "the shared weights",
        "assert_equal": assert_shared_weights,
    }
    return [
        Comparison(
            name="training step, pyramidal output",
            inputs=f"{args.batch} scenes of {scene}, with {args.config_file.name}",
            method=partial(step, single=False),
            peer=partial(step, single=True),
            **common,
        ),
        Comparison(
            name="inference, pyramidal output",
            inputs=f"a scene of {scene}, with {args.config_file.name}, random weights",
            method=partial(inference, single=False),
            peer=partial(inference, single=True),
            **common,
        ),
    ]


def read_config(path: Path, device: str, single: bool) -> CfgNode:
    output = (OUTPUT, "single") if single else ()
    compact = ("MODEL.UNIFIED.OUTPUT", "compact")
    cfg = resolve_config(load_config(path, ["MODEL.DEVICE", device, *compact, *OVERRIDES, *output]))
    if cfg.MODEL.SEM_SEG_HEAD.NAME != "PyramidalOutputHead":
        raise ConfigError(
            f"{path}: MODEL.SEM_SEG_HEAD.NAME must be PyramidalOutputHead, got {cfg.MODEL.SEM_SEG_HEAD.NAME}"
        )
    return cfg


def build(path: Path, device: str, single: bool) -> nn.Module:
    """Build the model; the one with a single output gets the common weights of the pyramidal one."""
    torch.manual_seed(SEED)
    pyramidal = build_model(read_config(path, device, single=False))
    if not single:
        return pyramidal
    model = build_model(read_config(path, device, single=True))
    model.load_state_dict(shared_weights(pyramidal))
    return model


def shared_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the common weights of either model under the names of the single one.

    The classifier of the single one is that of the finest level.
    """
    state = {name: value for name, value in model.state_dict().items() if ".unity." not in name}
    levels = len(model.sem_seg_head.classifiers)  # type: ignore[union-attr, arg-type]
    own, finest = "sem_seg_head.classifiers.", f"sem_seg_head.classifiers.{levels - 1}."
    shared = {name: value for name, value in state.items() if not name.startswith(own)}
    return shared | {f"{own}0.{name[len(finest) :]}": v for name, v in state.items() if name.startswith(finest)}


class SharedWeights:
    """A call that returns the common weights of its model, to assert that both sides have the same."""

    def __init__(self, model: nn.Module, call: Call):
        self.model, self.call = model, call

    def __call__(self) -> dict[str, torch.Tensor]:
        self.call()
        return shared_weights(self.model)


def prepare_step(config_file: Path, device: str, size: tuple[int, int], batch: int, single: bool) -> Call:
    cfg = read_config(config_file, device, single)
    model = build(config_file, device, single)
    inputs = toyscapes_batch(size, batch, SEED, cfg.INPUT.FORMAT)
    return SharedWeights(model, TrainingStep(model, build_optimizer(cfg, model), inputs))


def prepare_inference(config_file: Path, device: str, size: tuple[int, int], single: bool) -> Call:
    cfg = read_config(config_file, device, single)
    model = build(config_file, device, single).eval()
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    inputs = [{key: scene[key] for key in ("image", "height", "width")}]
    return SharedWeights(model, partial(infer, model, inputs))


def assert_shared_weights(method: dict[str, torch.Tensor], peer: dict[str, torch.Tensor]) -> None:
    """Assert equal common weights, which a step with a tiny learning rate leaves almost unchanged."""
    assert method.keys() == peer.keys(), f"weights of one side alone: {sorted(method.keys() ^ peer.keys())[:3]}"
    for name, value in peer.items():
        if value.is_floating_point() and "running_" not in name:
            assert torch.allclose(method[name], value, rtol=1e-3, atol=1e-5), f"{name} differs"
