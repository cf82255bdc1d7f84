"""The heads of projects/example_head, registered once in a test process, and configs without their keys."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from detectron2.config import CfgNode

from unified_seg.config.heads import registered_heads

PROJECT = Path(__file__).parents[2] / "projects" / "example_head"


def import_example_heads() -> list[ModuleType]:
    """Import linear_head.py and temperature_head.py, which registers their heads."""
    modules = []
    for name in ("linear_head", "temperature_head"):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, PROJECT / f"{name}.py")
            assert spec is not None and spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        modules.append(sys.modules[name])
    return modules


def remove_outside_keys(cfg: CfgNode) -> CfgNode:
    """Remove, in place, the keys of heads outside the library, which processes without these heads do not know."""
    for head in registered_heads().values():
        if head.config_node and not head.__module__.startswith("unified_seg."):
            cfg.MODEL.SEM_SEG_HEAD.pop(head.config_node, None)
    return cfg
