"""What the tests of several tools share."""

import importlib
import importlib.util
import pkgutil
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def benchmark_tool() -> Iterator[Namespace]:
    """tools/benchmark.py and its modules by name, imported as Python does when the tool is run."""
    sys.path.insert(0, str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("benchmark", TOOLS / "benchmark.py")
        benchmark = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(benchmark)
        names = [info.name for info in pkgutil.iter_modules(benchmark.benchmarks.__path__)]
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        yield Namespace(benchmark=benchmark, **modules)
    finally:
        sys.path.remove(str(TOOLS))
