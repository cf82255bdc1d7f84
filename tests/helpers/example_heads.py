"""The heads of projects/example_head, registered once in a test process."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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
