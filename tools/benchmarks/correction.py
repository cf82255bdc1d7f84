"""Error prediction and detail correction against the head inside by itself: inference from the image to the label map.

Both sides have the same backbone and head with the same random weights, which say nothing of errors. So the error
branch runs, and then the cells where the scene's ground truth changes its class are taken to be wrong: errors of a trained
network are there too, and are fewer.
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
from unified_seg.data.resolve import resolve_config
from unified_seg.meta_arch import build_model

from .harness import Call, Comparison
from .infer import infer
from .inputs import toyscapes_batch
from .models import SEED

SIZE = (512, 1024)
CONFIG = Path(__file__).resolve().parents[2] / "projects/error_correction/configs/cityscapes_asp_rp_r50.yaml"
NODE = "MODEL.SEM_SEG_HEAD.ERROR_CORRECTION"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """One with the error branch alone, one with both branches, one with both on the whole map."""
    cfg = read_config(args.config_file, args.device)
    scene = toyscapes_batch(args.size, 1, SEED, cfg.INPUT.FORMAT)[0]
    share = 100 * class_borders(scene["sem_seg"], stride=4).float().mean().item()
    parts = {
        "error branch": (f"{NODE}.OUTPUT", "base"),
        "error branch, detail branch where it is asked for": (),
        "error branch, detail branch everywhere": (f"{NODE}.SPARSE", "False"),
    }
    prepare = partial(prepare_inference, args.config_file, args.device, args.size)
    return [
        Comparison(
            name=f"inference with {name}",
            against="the head inside by itself",
            inputs=f"a scene of Toyscapes (standard, seed {SEED}), {args.size[0]}x{args.size[1]}, with "
            f"{args.config_file.name}, random weights, {share:.0f} % of the cells taken to be wrong",
            ours=partial(prepare, overrides),
            peer=partial(prepare, None),
            equal="the labels before the correction",
            assert_equal=assert_same_base,
        )
        for name, overrides in parts.items()
    ]


def read_config(path: Path, device: str, overrides: tuple[str, ...] = ()) -> CfgNode:
    """Raises ValueError for a config of another head."""
    cfg = load_config(path, ["MODEL.DEVICE", device, "MODEL.UNIFIED.OUTPUT", "compact", *overrides])
    if cfg.MODEL.SEM_SEG_HEAD.NAME != "ErrorCorrectionHead":
        raise ValueError(f"{path}: MODEL.SEM_SEG_HEAD.NAME is {cfg.MODEL.SEM_SEG_HEAD.NAME}, not ErrorCorrectionHead")
    return resolve_config(cfg)


def prepare_inference(config_file: Path, device: str, size: tuple[int, int], overrides: tuple[str, ...] | None) -> Call:
    """Of the corrected model with these overrides; None: of the head inside."""
    cfg = read_config(config_file, device, overrides or ())
    torch.manual_seed(SEED)
    model: nn.Module = build_model(cfg).eval()
    (scene,) = toyscapes_batch(size, 1, SEED, cfg.INPUT.FORMAT)
    if overrides is None:
        model.sem_seg_head = model.sem_seg_head.base  # type: ignore[union-attr]
    else:
        wrong = class_borders(scene["sem_seg"], stride=4)[None].to(device)
        model.sem_seg_head.error_branch.register_forward_hook(partial(_say_wrong, wrong))  # type: ignore[union-attr]
    return partial(infer, model, [{key: scene[key] for key in ("image", "height", "width")}])


def class_borders(labels: Tensor, stride: int) -> Tensor:
    """(H, W) -> (1, h, w) bool: cells with more than one class."""
    values = labels[None].float()
    return F.max_pool2d(values, stride) != -F.max_pool2d(-values, stride)


def _say_wrong(wrong: Tensor, branch: nn.Module, inputs: object, logits: Tensor) -> Tensor:
    return torch.where(wrong, 9.0, -9.0).to(logits.dtype)


def assert_same_base(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    labels = peer["sem_seg_labels"]
    uncorrected = ours["semantic_logit_maps"]["uncorrected"].labels(tuple(labels.shape))
    assert torch.equal(uncorrected, labels), "the head inside answers differently"
