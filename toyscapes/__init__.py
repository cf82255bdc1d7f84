"""Toyscapes: procedural street scenes, written to disk in the exact layout of Cityscapes.

It needs numpy, OpenCV, Pillow, tqdm and cityscapesScripts, and imports neither torch, Detectron2 nor unified_seg.
"""

from toyscapes.layout import make_scene
from toyscapes.presets import PRESETS, VERSION
from toyscapes.rendering import render_scene
from toyscapes.writing import generate

__all__ = ["PRESETS", "VERSION", "generate", "make_scene", "render_scene"]
