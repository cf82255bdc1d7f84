"""docs/training_cost.py: rows that can be computed by hand."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from unified_seg.config import get_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(ROOT / "docs/training_cost.py")


def test_memory_and_hours_are_scaled_by_counts_and_images_of_a_gpu(script):
    # 10e6 parameters of 12 bytes, and 50e6 activations of 4 bytes on 3 images: 0.12 + 0.6 GB. Twice the multiply-adds
    # and 1.5 times the images of the reference: 0.304 * 3 seconds for 7200 steps.
    cfg = get_config()
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER = 24, 7200
    cost, reference = (script.Cost((60, 80), 10_000_000, count, 50e6) for count in (4e9, 2e9))
    assert script.make_row(cost, cfg, reference) == ["60×80", "10", "4", "50", "24", "7,200", "0.7", "1.8"]


def test_the_training_size_is_the_crop_or_the_largest_size(script):
    cfg = get_config()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN = (640, 800), 1333
    assert script.get_training_size(cfg) == (800, 1333)
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.CROP.SIZE = True, [512, 1024]
    assert script.get_training_size(cfg) == (512, 1024)
