import pytest

from unified_seg.config import ConfigError, get_config, get_value, set_value
from unified_seg.config.ranges import RANGES, check_ranges
from unified_seg.data.resolve import resolve_config


def test_the_defaults_are_in_their_ranges() -> None:
    check_ranges(get_config())


@pytest.mark.parametrize("key", sorted(RANGES))
def test_numbers_out_of_range_are_named_by_their_key(key: str) -> None:
    cfg = get_config()
    default = get_value(cfg, key)
    for number in (-1.5, float("nan"), float("inf")) if key != "MODEL.PIXEL_MEAN" else (float("nan"),):
        set_value(cfg, key, [number, *default[1:]] if isinstance(default, list) else number)
        with pytest.raises(ConfigError, match=rf"^{key}: .*, got "):
            check_ranges(cfg)


@pytest.mark.parametrize(
    ("key", "value"), [("MODEL.PIXEL_STD", [57.0, 0.0, 57.0]), ("INPUT.MAX_SIZE_TEST", 0), ("SOLVER.MOMENTUM", 1.0)]
)
def test_a_config_is_checked_when_it_is_resolved(key: str, value: object) -> None:
    cfg = get_config()
    set_value(cfg, key, value)
    with pytest.raises(ConfigError, match=key):
        resolve_config(cfg)
