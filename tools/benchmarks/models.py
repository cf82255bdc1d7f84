"""The UnifiedSegmentor of a config, and Detectron2's PanopticFPN with the same weights in all common parts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from unified_seg import load_config
from unified_seg.config import ConfigError
from unified_seg.data.resolve import resolve_config

#: The fusion that Detectron2 has too.
MERGE = ("MODEL.PANOPTIC_FUSION.NAME", "ScoreOrderFusion")
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "toyscapes" / "unified_r18.yaml"
SHARED_PARTS = ("backbone", "proposal_generator", "roi_heads")
SEED = 0


def read_config(path: Path, device: str, overrides: Sequence[str] = ()) -> CfgNode:
    """Read a config, with the merge of the peer as fusion; raises ConfigError if it lacks a part of PanopticFPN."""
    cfg = resolve_config(load_config(path, ["MODEL.DEVICE", device, *MERGE, *overrides]))
    if cfg.MODEL.META_ARCHITECTURE != "UnifiedSegmentor":
        raise ConfigError(
            f"{path}: MODEL.META_ARCHITECTURE must be UnifiedSegmentor, got {cfg.MODEL.META_ARCHITECTURE}"
        )
    for part in ("PROPOSAL_GENERATOR", "ROI_HEADS", "SEM_SEG_HEAD"):
        if not cfg.MODEL[part].NAME:
            raise ConfigError(f"{path}: MODEL.{part}.NAME is empty, but the peer PanopticFPN has this part")
    return cfg


def build_unified(cfg: CfgNode) -> nn.Module:
    """Build UnifiedSegmentor with seeded weights."""
    torch.manual_seed(SEED)
    return build_model(cfg)


def build_peer(cfg: CfgNode) -> nn.Module:
    """Build Detectron2's PanopticFPN with the weights of UnifiedSegmentor in all common parts.

    Its SemSegFPNHead has the same width, levels and norm as the semantic head of the config.

    Raises:
        ConfigError: backbone, RPN or ROI heads of the two differ.
    """
    peer_cfg = cfg.clone()
    peer_cfg.defrost()
    peer_cfg.MODEL.META_ARCHITECTURE = "PanopticFPN"
    peer_cfg.MODEL.SEM_SEG_HEAD.NAME = "SemSegFPNHead"
    peer, unified = build_model(peer_cfg), build_unified(cfg)
    for part in SHARED_PARTS:
        try:
            getattr(peer, part).load_state_dict(getattr(unified, part).state_dict())
        except RuntimeError as error:
            raise ConfigError(f"the {part} of PanopticFPN and UnifiedSegmentor differ: {error}") from None
    return peer
