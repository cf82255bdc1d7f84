"""Backbones, and changes to those of Detectron2; importing registers them."""

from unified_seg.backbones.dilated_resnet import build_dilated_resnet_backbone
from unified_seg.backbones.frozen_statistics import freeze_bn_statistics
from unified_seg.backbones.light_decoder import LightDecoder
from unified_seg.backbones.timm_network import TimmNetwork

__all__ = ["LightDecoder", "TimmNetwork", "build_dilated_resnet_backbone", "freeze_bn_statistics"]
