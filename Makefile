# `make demo` and `make test` set everything up by themselves. VENV=folder chooses the environment; an active one
# that has Detectron2 is used as it is (see tools/setup_env.py).
PYTHON = $(shell python3 tools/setup_env.py --which)

.PHONY: demo test lint bench setup

setup:
	@python3 tools/setup_env.py

demo: setup
	$(PYTHON) tools/run_demo.py --output output/demo

test: setup
	$(PYTHON) -m pytest -n auto --dist loadfile

lint: setup
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy
	$(dir $(PYTHON))lint-imports --no-cache --no-logo

# Half an hour; on an idle machine, since a busy one doubles the spread.
bench: setup
	for command in fusion argmax post semantic-eval panoptic-eval infer train pyramidal correction; do \
		$(PYTHON) tools/benchmark.py $$command --repeats 20 --into docs/benchmarks.md \
			--json docs/benchmarks/$$command.json || exit 1; \
	done
	$(PYTHON) tools/benchmark.py windows --repeats 3 --into docs/benchmarks.md --json docs/benchmarks/windows.json
	$(PYTHON) tools/benchmark.py fusion --growth projects/fusion_scheme/images/growth.png
