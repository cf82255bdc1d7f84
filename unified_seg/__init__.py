"""Unified semantic, instance and panoptic segmentation on Detectron2. Importing registers every component."""

import warnings

# Detectron2 calls both in an old way, at import and in every process; its users can do nothing about it.
warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)

from unified_seg import data, fusion, heads, meta_arch  # noqa: E402, F401  (registration)
from unified_seg.config import add_unified_seg_config, get_config, load_config  # noqa: E402

__version__ = "0.1.0"

__all__ = ["__version__", "add_unified_seg_config", "get_config", "load_config"]
