"""Overrides of the command line that have no effect, since stages override them."""

import difflib
from collections.abc import Sequence

from detectron2.config import CfgNode

from unified_seg.config.reading import ConfigError, get_value
from unified_seg.hints import format_hint


def check_overrides(cfg: CfgNode, overrides: Sequence[str], stages: Sequence[str]) -> list[str]:
    """Refuse overrides that have no effect on any stage.

    Args:
        cfg: a full config, overrides included.
        overrides: KEY, VALUE, ... of the command line.
        stages: the names of the stages that count: all of SOLVER.STAGES for a training, the last one for inference.

    Returns:
        Warnings about overrides that have no effect on some of the stages.

    Raises:
        ConfigError: a key of a stage that SOLVER.STAGES lacks; a key that every stage overrides.
    """
    warnings = []
    for key in overrides[::2] if stages else ():
        top, _, rest = key.partition(".")
        if top == "STAGES":
            _check_stage(key, rest.partition(".")[0], [str(name) for name in cfg.SOLVER.STAGES])
            continue
        value = get_value(cfg, key)
        overridden_in = [name for name in stages if get_value(cfg.STAGES[name], key) not in (None, value)]
        if not overridden_in:
            continue
        message = f"{key} {value} is overridden by {', '.join(f'STAGES.{name}.{key}' for name in overridden_in)}"
        if len(overridden_in) == len(stages):
            raise ConfigError(f"command line: {message}")
        warnings.append(message)
    return warnings


def _check_stage(key: str, name: str, stages: Sequence[str]) -> None:
    if name not in stages:
        close = difflib.get_close_matches(name, stages, n=1)
        hint = f"; did you mean {format_hint(key.replace(name, close[0], 1))}?" if close else ""
        raise ConfigError(f"command line: {key}: unknown stage {name!r}, SOLVER.STAGES has {', '.join(stages)}{hint}")
