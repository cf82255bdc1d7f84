"""What a command line says that nothing would hear."""

import difflib
from collections.abc import Sequence

from detectron2.config import CfgNode

from unified_seg.config.reading import ConfigError, value_of


def check_overrides(cfg: CfgNode, overrides: Sequence[str], stages: Sequence[str]) -> list[str]:
    """Refuse keys that no training would read, since stages have values of their own.

    Args:
        cfg: a full config, overrides included.
        overrides: KEY, VALUE, ... of the command line.
        stages: the names of those that matter: of SOLVER.STAGES all, or for a model that only answers the last one.

    Returns:
        What to say about keys that hold for some of the stages only.

    Raises:
        ConfigError: a key of a stage that is none of SOLVER.STAGES; a key of which each stage has a value of its own.
    """
    partly = []
    for key in overrides[::2] if stages else ():
        top, _, rest = key.partition(".")
        if top == "STAGES":
            _check_stage(key, rest.partition(".")[0], [str(name) for name in cfg.SOLVER.STAGES])
            continue
        value = value_of(cfg, key)
        deaf = [name for name in stages if value_of(cfg.STAGES[name], key) not in (None, value)]
        if not deaf:
            continue
        message = f"{key} {value} does not hold where {', '.join(f'STAGES.{name}.{key}' for name in deaf)} does"
        if len(deaf) == len(stages):
            raise ConfigError(f"command line: {message}")
        partly.append(message)
    return partly


def _check_stage(key: str, name: str, stages: Sequence[str]) -> None:
    if name not in stages:
        close = difflib.get_close_matches(name, stages, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"command line: {key}: {name} is none of SOLVER.STAGES, {', '.join(stages)}{hint}")
