"""Hsiao et al., Specialize and Fuse: Pyramidal Output Representation for Semantic Segmentation (2021)."""

from unified_seg.heads.pyramidal_output.head import PyramidalOutputHead

__all__ = ["PyramidalOutputHead"]
