"""The configuration: its keys, and the reader of config files."""

from detectron2.config import CfgNode

from unified_seg.config.compare import changed_since
from unified_seg.config.keys import add_unified_seg_config, get_config
from unified_seg.config.overrides import check_overrides
from unified_seg.config.reading import COMPACT, ConfigError, load_config, merge_file
from unified_seg.config.stages import Stage, final_config, read_stages

__all__ = [
    "COMPACT",
    "CfgNode",
    "ConfigError",
    "Stage",
    "add_unified_seg_config",
    "changed_since",
    "check_overrides",
    "final_config",
    "get_config",
    "load_config",
    "merge_file",
    "read_stages",
]
