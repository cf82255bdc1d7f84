"""The configuration: its keys, and the reader of config files."""

from detectron2.config import CfgNode

from unified_seg.config.compare import Change, dump_config, find_changes, load_dump
from unified_seg.config.dumped import read_dump
from unified_seg.config.keys import add_unified_seg_config, get_config
from unified_seg.config.locate import locate_config
from unified_seg.config.overrides import check_overrides
from unified_seg.config.reading import (
    COMPACT,
    ConfigError,
    get_value,
    load_config,
    merge_file,
    merge_overrides,
    replace_values,
    set_value,
)
from unified_seg.config.stages import Stage, make_inference_config, read_stages

__all__ = [
    "COMPACT",
    "CfgNode",
    "Change",
    "ConfigError",
    "Stage",
    "add_unified_seg_config",
    "check_overrides",
    "dump_config",
    "find_changes",
    "get_config",
    "get_value",
    "load_config",
    "load_dump",
    "locate_config",
    "make_inference_config",
    "merge_file",
    "merge_overrides",
    "read_dump",
    "read_stages",
    "replace_values",
    "set_value",
]
