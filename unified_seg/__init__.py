"""Unified semantic, instance and panoptic segmentation on Detectron2. Importing registers every component."""

from unified_seg import data, fusion, heads, meta_arch  # noqa: F401  (registration)
from unified_seg.config import add_unified_seg_config, get_config, load_config

__version__ = "0.1.0"

__all__ = ["__version__", "add_unified_seg_config", "get_config", "load_config"]
