"""Loads what all tests share (helpers/shared_fixtures.py) in the processes that run tests."""

import os

import pytest


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Called as soon as this file is loaded: other conftest files import this project."""
    # One process of pytest-xdist only hands out the tests: it starts the others at once, and needs no PyTorch.
    config = pluginmanager.get_plugin("pytestconfig")
    hands_out_only = getattr(config.known_args_namespace, "numprocesses", None) and not is_worker()
    if not hands_out_only:
        # In this order: the process that runs scripts is forked off before this project is imported.
        for plugin in ("processes", "shared_fixtures"):
            pluginmanager.import_plugin(plugin)


def pytest_configure(config: pytest.Config) -> None:
    # In the order of their names: by their numbers of tests, the long files of few tests would come last.
    config.option.loadscopereorder = False


def is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ
