"""Keys that say the same in two ways, such as SOLVER.MAX_ITER and SOLVER.EPOCHS: of two sources the later one holds."""

from collections.abc import Iterator, Mapping
from typing import Any

from unified_seg.config.keys import get_defaults
from unified_seg.config.refused import ConfigError

# A key that counts iterations, and the other one, which takes precedence if it is not empty.
ALTERNATIVES = {"SOLVER.MAX_ITER": "SOLVER.EPOCHS", "SOLVER.STEPS": "SOLVER.STEP_FRACTIONS"}


def find_replaced(values: Mapping[str, Any], source: object) -> Iterator[tuple[str, Any]]:
    """Yield the keys of earlier sources that a source replaces, each with the value that turns it off.

    Args:
        values: all keys that the source sets, such as SOLVER.MAX_ITER and STAGES.error.SOLVER.MAX_ITER.
        source: a file, the command line or a stage, for errors.

    Raises:
        ConfigError: the source sets both keys.
    """
    defaults = get_defaults().SOLVER
    for key, value in values.items():
        for name, other_name in ALTERNATIVES.items():
            if not f".{key}".endswith(f".{name}"):
                continue
            other = key.removesuffix(name) + other_name
            default, other_default = (defaults[each.partition(".")[2]] for each in (name, other_name))
            if not values.get(other):
                yield other, other_default
            elif value != default:  # a config that was written as a whole has the default too
                raise ConfigError(f"{source}: {key} and {other} say the same in two ways; leave one of them out")
