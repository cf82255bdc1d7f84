"""Unified semantic, instance and panoptic segmentation on Detectron2. Importing registers every component.

Programs use `load_config`, `Predictor`, `ClassTable` and `draw_panels`.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

# Detectron2 calls both in a deprecated way, at import and in every process.
warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)

from unified_seg import data, fusion, heads, meta_arch  # noqa: E402, F401  (registration)
from unified_seg.config import add_unified_seg_config, get_config, load_config  # noqa: E402
from unified_seg.structures.class_table import ClassTable  # noqa: E402

if TYPE_CHECKING:
    from unified_seg.inference import Predictor
    from unified_seg.visualization import draw_panels

__version__ = "0.1.0"

__all__ = [
    "ClassTable",
    "Predictor",
    "__version__",
    "add_unified_seg_config",
    "draw_panels",
    "get_config",
    "load_config",
]

# Imported at their first use: training does not need them, and drawing imports matplotlib.
_LAZY = {"Predictor": "unified_seg.inference", "draw_panels": "unified_seg.visualization"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'unified_seg' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
