"""Loads what all tests share (helpers/shared_fixtures.py) in the processes that run tests."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # One process of pytest-xdist only hands out the tests: it starts the others at once, and needs no PyTorch.
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    # In this order: the process that runs scripts is forked off before this project is imported.
    for plugin in ("processes", "shared_fixtures"):
        config.pluginmanager.import_plugin(plugin)
