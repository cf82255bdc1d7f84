"""The meta-architecture; importing registers it."""

from unified_seg.meta_arch.build import build_model
from unified_seg.meta_arch.freezing import FreezableModel
from unified_seg.meta_arch.unified_segmentor import UnifiedSegmentor

__all__ = ["FreezableModel", "UnifiedSegmentor", "build_model"]
