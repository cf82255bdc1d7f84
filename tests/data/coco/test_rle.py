import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as mask_util

from unified_seg.data.coco.rle import encode_masks, encode_window
from unified_seg.structures.box_masks import BoxMasks


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, int, int, tuple[int, int]]:
    mask = draw(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6)))
    top, left, below, right = (draw(st.integers(0, 3)) for _ in range(4))
    size = (max(1, top + mask.shape[0] + below), max(1, left + mask.shape[1] + right))
    return mask, top, left, size


def pycocotools_rle(full: np.ndarray) -> dict:
    rle = mask_util.encode(np.asfortranarray(full.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


@given(windows())
def test_encoded_windows_equal_pycocotools(window: tuple[np.ndarray, int, int, tuple[int, int]]):
    mask, top, left, size = window
    full = np.zeros(size, dtype=bool)
    full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    assert encode_window(mask, top, left, size) == pycocotools_rle(full)


def test_cropped_masks_equal_pycocotools():
    full = torch.rand(5, 20, 30, generator=torch.Generator().manual_seed(0)) > 0.7
    full[0] = False
    full[1] = True
    assert encode_masks(BoxMasks.from_full(full)) == [pycocotools_rle(mask.numpy()) for mask in full]
