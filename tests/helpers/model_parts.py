"""Configs without a part of the unified model."""

from detectron2.config import CfgNode


def without_detector(cfg: CfgNode) -> None:
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = cfg.MODEL.ROI_HEADS.NAME = cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    cfg.MODEL.MASK_ON = False


def without_semantic(cfg: CfgNode) -> None:
    cfg.MODEL.SEM_SEG_HEAD.NAME = cfg.MODEL.PANOPTIC_FUSION.NAME = ""


def without_masks(cfg: CfgNode) -> None:
    cfg.MODEL.PANOPTIC_FUSION.NAME = ""
    cfg.MODEL.MASK_ON = False
