"""Toyscapes: street scenes drawn by rules, written to disk in the exact layout of Cityscapes."""

from .layout import make_scene
from .presets import PRESETS, VERSION
from .rendering import render_scene
from .writing import generate

__all__ = ["PRESETS", "VERSION", "generate", "make_scene", "render_scene"]
