"""The configuration: its keys, and the reader of config files."""

from detectron2.config import CfgNode

from unified_seg.config.keys import add_unified_seg_config, get_config
from unified_seg.config.reading import COMPACT, ConfigError, load_config, merge_file

__all__ = ["COMPACT", "CfgNode", "ConfigError", "add_unified_seg_config", "get_config", "load_config", "merge_file"]
