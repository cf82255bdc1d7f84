"""Backbones, and what is done to Detectron2's."""

from unified_seg.backbones.frozen_statistics import freeze_bn_statistics

__all__ = ["freeze_bn_statistics"]
