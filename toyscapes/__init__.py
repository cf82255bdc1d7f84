"""Toyscapes: street scenes drawn by rules, written to disk in the exact layout of Cityscapes."""

from toyscapes.layout import make_scene
from toyscapes.presets import PRESETS, VERSION
from toyscapes.rendering import render_scene
from toyscapes.writing import generate

__all__ = ["PRESETS", "VERSION", "generate", "make_scene", "render_scene"]
