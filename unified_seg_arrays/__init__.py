"""What is computed on numpy arrays alone, by compiled loops where numpy has no operation: without torch and Detectron2.

The library and `unified_seg_runtime`, which predicts without torch, share these functions.

- `compiled`: compilation by numba.
- `class_table`: classes and the meaning of ids.
- `resampling`: from logits to the labels of an image.
- `fusion`: the panoptic fusions.
"""
