# `make demo` and `make test` set everything up by themselves. VENV=folder chooses the environment; an active one
# that has Detectron2 is used as it is (see tools/setup_env.py).
PYTHON = $(shell python3 tools/setup_env.py --which)

.PHONY: demo test lint bench setup

setup:
	@python3 tools/setup_env.py

demo: setup
	$(PYTHON) tools/run_demo.py --output output/demo

test: setup
	$(PYTHON) -m pytest

lint: setup
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

bench: setup
	$(PYTHON) tools/benchmark.py train
