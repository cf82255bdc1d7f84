"""What the tests of several tools share."""

import importlib
import importlib.util
import pkgutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def _module_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """Makes a module of tools/<name>.py, which is no package, anew at each call."""
    return _module_of


@pytest.fixture(scope="module")
def benchmark_tool() -> Iterator[Namespace]:
    """tools/benchmark.py and its modules by name, imported as Python does when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        benchmark = _module_of("benchmark")
        names = [info.name for info in pkgutil.iter_modules(benchmark.benchmarks.__path__)]
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        yield Namespace(benchmark=benchmark, **modules)
    finally:
        sys.path.remove(str(TOOLS))
