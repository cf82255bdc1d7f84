"""One training step of UnifiedSegmentor against one of Detectron2's PanopticFPN.

A step is forward pass, backward pass and optimizer step. Both models have the same backbone, RPN and ROI heads with the
same weights, the same batch and the same optimizer; they differ in the meta-architecture, the semantic head, the memory
format and precision of MODEL.UNIFIED, the form of the masks and, in every second row, in SOLVER.FUSED. A CPU with
bfloat16 is timed in both precisions; the peer has float32.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import nn

from unified_seg.data.pipeline.shared_masks import SharedMasks
from unified_seg.meta_arch.computation import uses_bfloat16
from unified_seg.training.optimizer import build_optimizer
from unified_seg_cli import ToolParser

from .harness import Call, Comparison
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_peer, build_unified, read_config

SIZE = (128, 256)
# Rounding depends on the memory format of the maps, and now and then decides whether a proposal is sampled.
TOLERANCE = 5e-3
# With so small a rate the weights stay the same, so that each step does the work of the first.
OVERRIDES = ("SOLVER.BASE_LR", "1e-8")
FUSED = ("SOLVER.FUSED", "True")
FLOAT32 = ("MODEL.UNIFIED.CPU_PRECISION", "float32")


def add_arguments(parser: ToolParser) -> None:
    parser.add_config_file("the config; default: %(default)s", type=Path, default=CONFIG)
    parser.add_count("--batch", "images in a training step", default=4)


def make_comparisons(args: argparse.Namespace) -> list[Comparison]:
    """Return the comparisons; raises ConfigError for a config without detector or semantic head."""
    in_bfloat16 = uses_bfloat16(read_config(args.config_file, args.device))
    precisions = {"bfloat16": (), "float32": FLOAT32} if in_bfloat16 else {"float32": ()}
    comparisons = []
    for name, overrides in precisions.items():
        is_exact = name == "float32"
        comparisons += [
            compare(args, name, overrides, is_exact),
            compare(args, f"{name}, SOLVER.FUSED", (*overrides, *FUSED), is_exact),
        ]
    return comparisons


def compare(args: argparse.Namespace, variant: str, overrides: Sequence[str], is_exact: bool) -> Comparison:
    """Compare a variant of the training step with Detectron2's step."""
    cfg = read_config(args.config_file, args.device)
    step = partial(prepare_step, args.config_file, args.device, args.size, args.batch)
    scenes = f"{args.batch} Toyscapes scenes (standard, seed {SEED}), {args.size[0]}x{args.size[1]}"
    return Comparison(
        name=f"training step, {cfg.MODEL.SEM_SEG_HEAD.NAME}, {variant}",
        against="Detectron2's PanopticFPN with SemSegFPNHead",
        inputs=f"{scenes}, with {args.config_file.name}",
        method=partial(step, peer=False, overrides=overrides),
        peer=partial(step, peer=True),
        equal="detector losses, to " + (f"{100 * TOLERANCE:g} %" if is_exact else "10 %, in bfloat16"),
        assert_equal=partial(assert_equal_detector_losses, tolerance=TOLERANCE if is_exact else 0.1),
    )


def prepare_step(
    config_file: Path, device: str, size: tuple[int, int], batch: int, peer: bool, overrides: Sequence[str] = ()
) -> Call:
    """Prepare a training step of the method or the peer on a fixed batch."""
    cfg = read_config(config_file, device, (*OVERRIDES, *overrides))
    model = build_peer(cfg) if peer else build_unified(cfg)
    return TrainingStep(model, build_optimizer(cfg, model), make_batch(cfg, size, batch, peer))


def make_batch(cfg: CfgNode, size: tuple[int, int], batch: int, peer: bool) -> list[dict[str, Any]]:
    """Return training inputs with masks as `UnifiedMapper` or Detectron2's mapper makes them."""
    inputs = toyscapes_batch(size, batch, SEED, cfg.INPUT.FORMAT)
    for each in () if peer else inputs:
        masks = [(0, 0, mask) for mask in each["instances"].gt_masks.tensor.numpy()]
        each["instances"].gt_masks = SharedMasks.from_windows(masks, size)
    return inputs


class TrainingStep:
    """Forward pass, backward pass and optimizer step; a call returns the losses by name.

    Args:
        model: of the method or the peer.
        optimizer: of its parameters.
        inputs: the batch.
        precision: the autocast type; None: full precision, or what the model chooses.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: list[dict[str, Any]],
        precision: torch.dtype | None = None,
    ):
        self.model = model.train()
        self.optimizer = optimizer
        self.inputs = inputs
        device_type = next(model.parameters()).device.type
        self.autocast = nullcontext() if precision is None else torch.autocast(device_type, dtype=precision)
        self.scaler = torch.amp.GradScaler(device_type, enabled=precision is torch.float16)

    def __call__(self) -> dict[str, torch.Tensor]:
        # RPN and ROI heads sample their proposals: the same ones in method and peer.
        torch.manual_seed(SEED)
        with EventStorage(), self.autocast:  # Detectron2's heads log to the storage
            losses = self.model(self.inputs)
        self.optimizer.zero_grad()
        self.scaler.scale(sum(losses.values())).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {name: loss.detach() for name, loss in losses.items()}


def assert_equal_detector_losses(
    method: dict[str, torch.Tensor], peer: dict[str, torch.Tensor], tolerance: float = TOLERANCE
) -> None:
    """Assert that all losses but the semantic one are equal, as they must be with the same weights and samples."""
    assert method.keys() >= peer.keys(), f"losses {sorted(method)} and {sorted(peer)}"
    for name in peer.keys() - {"loss_sem_seg"}:
        equal = torch.isclose(method[name].float(), peer[name], rtol=tolerance, atol=tolerance / 100)
        assert equal, f"{name}: {method[name].item()} is not {peer[name].item()}"
