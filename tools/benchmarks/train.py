"""One training step of UnifiedSegmentor with its head against Detectron2's PanopticFPN.

Forward, backward and optimizer step. Both have the same backbone, RPN and ROI heads with the same weights, the same
batch and the same optimizer; they differ in the meta-architecture and in the semantic head.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from unified_seg.training.optimizer import build_optimizer

from .arguments import positive
from .harness import Call, Comparison
from .inputs import toyscapes_batch
from .models import CONFIG, SEED, build_ours, build_peer, read_config

SIZE = (128, 256)
# So small that the weights stay what they were: every step then does the work of the first.
OVERRIDES = ("SOLVER.BASE_LR", "1e-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--batch", type=positive, default=4, metavar="N", help="images a step; default 4")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """One comparison. Raises ValueError for a config without detector or semantic head."""
    cfg = read_config(args.config_file, args.device, OVERRIDES)
    step = partial(prepare_step, args.config_file, args.device, args.size, args.batch)
    scenes = f"{args.batch} Toyscapes scenes (standard, seed {SEED}), {args.size[0]}x{args.size[1]}"
    return [
        Comparison(
            name=f"training step, {cfg.MODEL.SEM_SEG_HEAD.NAME}",
            against="Detectron2's PanopticFPN with SemSegFPNHead",
            inputs=f"{scenes}, with {args.config_file.name}",
            ours=partial(step, peer=False),
            peer=partial(step, peer=True),
            equal="detector losses",
            assert_equal=assert_equal_detector_losses,
        )
    ]


def prepare_step(config_file: Path, device: str, size: tuple[int, int], batch: int, peer: bool) -> Call:
    """A training step of ours or of the peer, on a fixed batch."""
    cfg = read_config(config_file, device, OVERRIDES)
    model = build_peer(cfg) if peer else build_ours(cfg)
    optimizer = build_optimizer(cfg, model)
    inputs = toyscapes_batch(size, batch, SEED, cfg.INPUT.FORMAT)
    return TrainingStep(model, optimizer, inputs)


class TrainingStep:
    """Forward, backward and optimizer step; returns the losses by name."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, inputs: list[dict[str, Any]]):
        self.model = model.train()
        self.optimizer = optimizer
        self.inputs = inputs

    def __call__(self) -> dict[str, torch.Tensor]:
        # The RPN and the ROI heads draw what they learn from: both sides draw the same.
        torch.manual_seed(SEED)
        with EventStorage():  # Detectron2's heads log to it
            losses = self.model(self.inputs)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}


def assert_equal_detector_losses(ours: dict[str, torch.Tensor], peer: dict[str, torch.Tensor]) -> None:
    """With the same weights and draws, all losses but the semantic one are the same."""
    assert ours.keys() >= peer.keys(), f"losses {sorted(ours)} and {sorted(peer)}"
    for name in peer.keys() - {"loss_sem_seg"}:
        equal = torch.isclose(ours[name], peer[name], rtol=1e-3, atol=1e-5)
        assert equal, f"{name}: {ours[name].item()} is not {peer[name].item()}"
