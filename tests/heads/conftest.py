"""The head outside the tree is registered too, so that the contract battery finds it."""

import importlib.util
from pathlib import Path

from unified_seg.heads import registered_heads

EXAMPLE = Path(__file__).parents[2] / "projects" / "example_head" / "head.py"

if "LinearHead" not in registered_heads():
    spec = importlib.util.spec_from_file_location("example_head", EXAMPLE)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
