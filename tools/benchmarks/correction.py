"""Error prediction and detail correction against the base head alone: inference from the image to the label map.

Method and peer have the same backbone and base head with the same random weights. With random weights the error branch
predicts no useful errors. Its logits are therefore replaced: cells with a class border of the ground truth count as
wrong. A trained network makes its errors there too, but fewer of them.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch.nn import functional as F

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .infer import infer
from .inputs import toyscapes_batch
from .models import SEED

SIZE = (512, 1024)
CONFIG = Path(__file__).resolve().parents[2] / "projects/error_correction/configs/cityscapes_asp_rp_r50.yaml"
NODE = "MODEL.SEM_SEG_HEAD.ERROR_CORRECTION"


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return two comparisons: with the error branch alone, and with both branches."""
    cfg = read_config(args.config_file, args.device)
    scene = toyscapes_batch(args.size, 1, SEED, cfg.INPUT.FORMAT)[0]
    share = 100 * class_borders(scene["sem_seg"], stride=4).float().mean().item()
    parts = {
        "error branch": (f"{NODE}.OUTPUT", "base"),
        "error branch and detail branch": (),
    }
    prepare = partial(prepare_inference, args.config_file, args.device, args.size)
    return [
        Comparison(
            name=f"inference with {name}",
            against="the base head alone",
            inputs=f"a scene of Toyscapes (standard, seed {SEED}), {args.size[0]}x{args.size[1]}, with "
            f"{args.config_file.name}, random weights, {share:.0f} % of the cells counted as wrong",
            method=partial(prepare, overrides),
            peer=partial(prepare, None),
            equal="the labels before correction",
            assert_equal=assert_same_base,
        )
        for name, overrides in parts.items()
    ]


def read_config(path: Path, device: str, overrides: tuple[str, ...] = ()) -> CfgNode:
    """Read a config; raises ConfigError if it has another head."""
    cfg = load_config(path, ["MODEL.DEVICE", device, "MODEL.UNIFIED.OUTPUT", "compact", *overrides])
    if cfg.MODEL.SEM_SEG_HEAD.NAME != "ErrorCorrectionHead":
        raise ConfigError(
            f"{path}: MODEL.SEM_SEG_HEAD.NAME must be ErrorCorrectionHead, got {cfg.MODEL.SEM_SEG_HEAD.NAME}"
        )
    return resolve_config(cfg)


def prepare_inference(config_file: Path, device: str, size: tuple[int, int], overrides: tuple[str, ...] | None) -> Call:
    """Prepare inference of the correcting model with these overrides, or, for None, of its base head."""
    cfg = read_config(config_file, device, overrides or ())
    torch.manual_seed(SEED)
    model: nn.Module = build_model(cfg).eval()
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    if overrides is None:
        model.sem_seg_head = model.sem_seg_head.base  # type: ignore[union-attr]
    else:
        wrong = class_borders(scene["sem_seg"], stride=4)[None].to(device)
        model.sem_seg_head.error_branch.register_forward_hook(partial(_mark_as_wrong, wrong))  # type: ignore[union-attr]
    return partial(infer, model, [{key: scene[key] for key in ("image", "height", "width")}])


def class_borders(labels: Tensor, stride: int) -> Tensor:
    """Return the cells with more than one class: (H, W) -> (1, h, w) bool."""
    values = labels[None].float()
    return F.max_pool2d(values, stride) != -F.max_pool2d(-values, stride)


def _mark_as_wrong(wrong: Tensor, branch: nn.Module, inputs: object, logits: Tensor) -> Tensor:
    return torch.where(wrong, 9.0, -9.0).to(logits.dtype)


def assert_same_base(method: dict[str, Any], peer: dict[str, Any]) -> None:
    labels = peer["sem_seg_labels"]
    uncorrected = method["semantic_logit_maps"]["uncorrected"].labels(tuple(labels.shape))
    assert torch.equal(uncorrected, labels), "the base head predicts other labels"
