"""Panoptic fusions as compiled loops; `unified_seg.fusion` has their rules, and tensor versions for accelerators."""
