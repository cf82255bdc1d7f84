from collections.abc import Callable

import numpy as np
import pytest
from detectron2.config import CfgNode

from unified_seg.config import ConfigError
from unified_seg.data.pipeline.class_weights import set_class_weights, weigh_by_frequency
from unified_seg.data.resolve import resolve_config


def test_median_frequency_by_hand() -> None:
    # Class 0: 60 + 90 of 200 pixels, class 1: 40 of the 100 of the first image, class 2: 10 of the 100 of the second.
    counts = np.array([[60, 40, 0, 0], [90, 0, 10, 0]])
    # The frequencies are 0.75, 0.4 and 0.1 and their median is 0.4; the last class never occurs.
    assert weigh_by_frequency(counts, 1.0) == pytest.approx([0.4 / 0.75, 1.0, 4.0, 1.0])
    assert weigh_by_frequency(counts, 0.5) == pytest.approx([(0.4 / 0.75) ** 0.5, 1.0, 2.0, 1.0])
    assert weigh_by_frequency(np.zeros((2, 3), dtype=int), 1.0) == [1.0, 1.0, 1.0]


def test_weights_of_the_training_images(tiny_config: CfgNode) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER = 1.0
    cfg = resolve_config(tiny_config)
    weighted = set_class_weights(cfg)
    weights = dict(zip(cfg.MODEL.SEM_SEG_HEAD.CLASS_NAMES, weighted.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS))
    # 14 x 12 pixels of the bicycle, in one image of which 4 rows of 128 pixels are void.
    assert weights["bicycle"] / weights["road"] > 10 and weights["rider"] == 1.0
    assert weighted.is_frozen() and cfg.MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS == []


def test_a_missing_label_is_left_to_the_checks(tiny_config: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_config.MODEL.SEM_SEG_HEAD.LOSS.FREQUENCY_POWER = 1.0
    cfg = resolve_config(tiny_config)
    load = "unified_seg.data.pipeline.class_weights.load_training_records"
    missing = {"file_name": "a.png", "sem_seg_file_name": "none.png", "height": 4, "width": 4}
    monkeypatch.setattr(load, lambda _: [missing])
    assert set(set_class_weights(cfg).MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS) == {1.0}


@pytest.mark.parametrize(("power", "weights"), [(-1.0, []), (1.0, [1.0])])
def test_what_does_not_go_together_is_an_error(tiny_config: CfgNode, power: float, weights: list[float]) -> None:
    loss = tiny_config.MODEL.SEM_SEG_HEAD.LOSS
    loss.FREQUENCY_POWER, loss.CLASS_WEIGHTS = power, weights
    with pytest.raises(ConfigError, match="FREQUENCY_POWER"):
        set_class_weights(resolve_config(tiny_config))


@pytest.mark.parametrize("change", [lambda cfg: None, lambda cfg: setattr(cfg.MODEL.SEM_SEG_HEAD, "NAME", "")])
def test_without_a_power_or_a_head_nothing_is_read(tiny_config: CfgNode, change: Callable[[CfgNode], None]) -> None:
    change(tiny_config)
    cfg = resolve_config(tiny_config)
    assert set_class_weights(cfg) is cfg
