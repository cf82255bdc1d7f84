# `make demo` and `make test` install what they need. VENV=folder chooses the environment; an active one with Detectron2
# is used as it is (see tools/setup_env.py).
PYTHON = $(shell python3 tools/setup_env.py --which)

.PHONY: demo demo-photos test test-all lint docs bench setup

setup:
	@python3 tools/setup_env.py

demo: setup
	$(PYTHON) tools/run_demo.py --output output/demo

# DATA: the folder that holds camvid/ (datasets/README.md).
DATA = datasets
demo-photos: setup
	DETECTRON2_DATASETS="$(DATA)" $(PYTHON) tools/run_demo.py --config-file configs/camvid/demo.yaml \
		--output output/demo_photos

output/demo/model_final.pth:
	$(MAKE) demo

# The unit suite, in minutes; `make test-all` also runs what starts programs and trains.
test: setup
	$(PYTHON) -m pytest -n auto --dist loadfile -m "not end_to_end"

test-all: setup
	$(PYTHON) -m pytest -n auto --dist loadfile

lint: setup
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy
	$(dir $(PYTHON))lint-imports --no-cache --no-logo

# Every warning is an error: links and headings that do not exist, pages that are missing in mkdocs.yml.
docs: setup
	@$(PYTHON) -c "import material, mermaid_render, mkdocstrings" 2> /dev/null || \
		$(PYTHON) -m pip install --quiet --no-build-isolation --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

# Takes half an hour. Use an idle machine: on a busy one the times vary twice as much.
bench: setup output/demo/model_final.pth
	for command in fusion argmax post semantic-eval panoptic-eval ap infer train data pyramidal correction; do \
		$(PYTHON) tools/benchmark.py $$command --repeats 20 --into docs/benchmarks.md \
			--json docs/benchmarks/$$command.json || exit 1; \
	done
	$(PYTHON) tools/benchmark.py pipeline --repeats 7 --weights output/demo/model_final.pth --into docs/benchmarks.md \
		--json docs/benchmarks/pipeline.json
	$(PYTHON) tools/benchmark.py launches --into docs/benchmarks.md --json docs/benchmarks/launches.json
	$(PYTHON) tools/benchmark.py start --repeats 3 --into docs/benchmarks.md --json docs/benchmarks/start.json
	$(PYTHON) tools/benchmark.py tracking --repeats 20 --into docs/benchmarks.md --json docs/benchmarks/tracking.json
	$(PYTHON) tools/benchmark.py checkpoint --layers 50 --repeats 5 --into docs/benchmarks.md --json docs/benchmarks/checkpoint.json
	$(PYTHON) tools/benchmark.py windows --repeats 3 --into docs/benchmarks.md --json docs/benchmarks/windows.json
	$(PYTHON) tools/benchmark.py export --into docs/export.md --json docs/benchmarks/export.json
	$(PYTHON) tools/benchmark.py fusion --growth projects/fusion_scheme/images/growth.png
	$(PYTHON) tools/benchmark.py ap --growth docs/images/growth_ap.png
