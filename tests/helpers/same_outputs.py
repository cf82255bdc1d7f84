"""Compare the outputs of a model on a device with those on the CPU."""

from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from unified_seg.structures.box_masks import BoxMasks
from unified_seg.structures.cell_map import CellMap
from unified_seg.structures.logit_map import LogitMap


def assert_same(actual: Any, expected: Any, where: str = "outputs") -> None:
    """Assert equality: exact for integers and masks, up to rounding for floating-point values."""
    if isinstance(expected, Tensor):
        actual = actual.detach().cpu()
        assert actual.dtype == expected.dtype and actual.shape == expected.shape, where
        if expected.is_floating_point():
            torch.testing.assert_close(actual, expected.detach(), rtol=1e-3, atol=1e-5, msg=lambda m: f"{where}: {m}")
        else:
            assert torch.equal(actual, expected), where
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_same(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected), where
        for index, (one, other) in enumerate(zip(actual, expected)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(expected, Instances):
        assert_same(actual.get_fields(), expected.get_fields(), where)
    elif isinstance(expected, BoxMasks):
        assert_same(actual.full(), expected.full(), where)
    elif isinstance(expected, Boxes):
        assert_same(actual.tensor, expected.tensor, where)
    elif isinstance(expected, CellMap):
        assert_same(actual.values, expected.values, where)
    elif isinstance(expected, LogitMap):
        assert_same(actual.logits((20, 30)), expected.logits((20, 30)), where)
    elif isinstance(expected, float):
        assert abs(actual - expected) < 1e-4 or (actual != actual and expected != expected), where
    else:
        assert actual == expected, where
