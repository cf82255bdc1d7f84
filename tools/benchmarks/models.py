"""A config's UnifiedSegmentor, and Detectron2's PanopticFPN with the same weights where the two have the same parts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from unified_seg import load_config
from unified_seg.data.resolve import resolve_config

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "toyscapes" / "unified_r18.yaml"
SHARED_PARTS = ("backbone", "proposal_generator", "roi_heads")
SEED = 0


def read_config(path: Path, device: str, overrides: Sequence[str] = ()) -> CfgNode:
    """Our config. Raises ValueError where it lacks what PanopticFPN has."""
    cfg = resolve_config(load_config(path, ["MODEL.DEVICE", device, *overrides]))
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
