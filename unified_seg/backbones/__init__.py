"""Backbones, and what is done to Detectron2's; importing registers them."""

from unified_seg.backbones.dilated_resnet import build_dilated_resnet_backbone
from unified_seg.backbones.frozen_statistics import freeze_bn_statistics

__all__ = ["build_dilated_resnet_backbone", "freeze_bn_statistics"]
