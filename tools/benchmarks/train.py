"""One training step of UnifiedSegmentor with its head against Detectron2's PanopticFPN.

Forward, backward and optimizer step. Both have the same backbone, RPN and ROI heads with the same weights, the same
batch and the same optimizer; they differ in the meta-architecture and in the semantic head.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from unified_seg import load_config
from unified_seg.data.class_counts import with_class_counts
from unified_seg.training.optimizer import build_optimizer

from .arguments import positive
from .harness import Call, Comparison
from .inputs import toyscapes_batch

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "toyscapes" / "unified_r18.yaml"
SHARED_PARTS = ("backbone", "proposal_generator", "roi_heads")
SEED = 0
# So small that the weights stay what they were: every step then does the work of the first.
LEARNING_RATE = "1e-8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--batch", type=positive, default=4, metavar="N", help="images a step; default 4")


def comparisons(args: argparse.Namespace) -> list[Comparison]:
    """One comparison. Raises ValueError for a config without detector or semantic head."""
    cfg = read_config(args.config_file, args.device)
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
    cfg = read_config(config_file, device)
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


def read_config(path: Path, device: str) -> CfgNode:
    """Our config. Raises ValueError where it lacks what PanopticFPN has."""
    cfg = with_class_counts(load_config(path, ["MODEL.DEVICE", device, "SOLVER.BASE_LR", LEARNING_RATE]))
    if cfg.MODEL.META_ARCHITECTURE != "UnifiedSegmentor":
        raise ValueError(f"{path}: MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}, not UnifiedSegmentor")
    for part in (cfg.MODEL.PROPOSAL_GENERATOR, cfg.MODEL.ROI_HEADS, cfg.MODEL.SEM_SEG_HEAD):
        if not part.NAME:
            raise ValueError(f"{path}: PanopticFPN has a detector and a semantic head, so the config must have them")
    return cfg


def build_ours(cfg: CfgNode) -> nn.Module:
    """UnifiedSegmentor with seeded weights."""
    torch.manual_seed(SEED)
    return build_model(cfg)


def build_peer(cfg: CfgNode) -> nn.Module:
    """Detectron2's PanopticFPN with SemSegFPNHead of the same width, levels and norm; all other weights are ours.

    Raises:
        ValueError: backbone, RPN or ROI heads of the two differ.
    """
    peer_cfg = cfg.clone()
    peer_cfg.defrost()
    peer_cfg.MODEL.META_ARCHITECTURE = "PanopticFPN"
    peer_cfg.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    peer, ours = build_model(peer_cfg), build_ours(cfg)
    for part in SHARED_PARTS:
        try:
            getattr(peer, part).load_state_dict(getattr(ours, part).state_dict())
        except RuntimeError as error:
            raise ValueError(f"the {part} of PanopticFPN is not that of UnifiedSegmentor: {error}") from None
    return peer
