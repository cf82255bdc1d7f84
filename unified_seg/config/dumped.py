"""Configs that a program wrote as text, such as those in checkpoints, with the same checks as a config file."""

import logging

from detectron2.config import CfgNode

from unified_seg.config.compare import load_dump
from unified_seg.config.keys import get_config
from unified_seg.config.reading import REMOVED_KEYS, ConfigError, get_value, list_leaves, merge_values
from unified_seg.config.refused import check_refused
from unified_seg.words import join_some


def read_dump(text: str, source: str) -> CfgNode:
    """Return the config of a training from its text, see `dump_config`.

    Keys that this version does not have are left out, with a warning: they are of another version of Detectron2, or of
    a head that is not imported. Stages are left out too: a text in a checkpoint is the config of one stage.

    Args:
        text: YAML of plain values; it has no `_BASE_`, so that it names no other file.
        source: of the text, for errors.

    Raises:
        ConfigError: not such a text, a value of another type than expected, or one that is refused, see `refused`.
    """
    values = load_dump(text)
    if values is None:
        raise ConfigError(f"{source}: its config is not plain yaml with keys and values")
    values.pop("STAGES", None)
    cfg = get_config()
    leaves = dict(list_leaves(values))
    unknown = [key for key in leaves if key not in REMOVED_KEYS and not _has_key(cfg, key)]
    if unknown:
        logging.getLogger(__name__).warning(
            f"{source}: keys of its config are unknown here and left out: {join_some(unknown)}; those of a head of "
            "your own need its module to be imported"
        )
    merge_values(cfg, {key: value for key, value in leaves.items() if key not in unknown}, source)
    cfg.SOLVER.STAGES = []
    check_refused(cfg)
    return cfg


def _has_key(cfg: CfgNode, key: str) -> bool:
    node, _, last = key.rpartition(".")
    parent = get_value(cfg, node) if node else cfg
    return isinstance(parent, CfgNode) and last in parent
