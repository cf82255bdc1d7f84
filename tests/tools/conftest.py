"""What the tests of several tools share."""

import importlib
import pkgutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="session")
def load_tool(load_script: Callable[[Path], ModuleType]) -> Callable[[str], ModuleType]:
    """Makes a module of tools/<name>.py, anew at each call."""
    return lambda name: load_script(TOOLS / f"{name}.py")


@pytest.fixture(scope="module")
def benchmark_tool(load_tool: Callable[[str], ModuleType]) -> Iterator[Namespace]:
    """tools/benchmark.py and its modules by name, imported as Python does when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        benchmark = load_tool("benchmark")
        names = [info.name for info in pkgutil.iter_modules([str(benchmark.FOLDER)])]
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        yield Namespace(benchmark=benchmark, **modules)
    finally:
        sys.path.remove(str(TOOLS))
