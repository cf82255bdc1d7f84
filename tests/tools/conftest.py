"""What the tests of several tools share."""

import importlib
import pkgutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tiny_model import TINY, to_overrides

from unified_seg.config import load_config

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="session")
def load_tool(load_script: Callable[[Path], ModuleType]) -> Callable[[str], ModuleType]:
    """Makes a module of tools/<name>.py, anew at each call."""
    return lambda name: load_script(TOOLS / f"{name}.py")


@pytest.fixture(scope="module")
def benchmark_tool(
    load_tool: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Namespace]:
    """tools/benchmark.py and its modules by name, imported as Python does when the tool is run; the models are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        benchmark = load_tool("benchmark")
        names = [info.name for info in pkgutil.iter_modules([str(benchmark.FOLDER)])]
        modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
        folder = tmp_path_factory.mktemp("configs")
        for module in modules.values():
            if isinstance(config := getattr(module, "CONFIG", None), Path):
                tiny = folder / config.name
                tiny.write_text(load_config(config, to_overrides(TINY)).dump())
                patch.setattr(module, "CONFIG", tiny)
        yield Namespace(benchmark=benchmark, **modules)
