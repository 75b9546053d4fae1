# blastscope: `make demo` and `make test` work from a fresh clone with Python 3.11 or newer.
DATA ?=
OUT ?= $(if $(DATA),demo-real,demo)
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3 python,$(if $(shell $(name) -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null | grep True),$(name))))
BIN := .venv/bin
WEIGHTS ?=
RECIPE ?=
MODEL ?= model
PARTS ?=
FLAGS ?=
KERAS ?= $(wildcard .venv-keras/bin/python)
data := $(if $(DATA),--data "$(DATA)")
weights := $(if $(WEIGHTS),--weights-dir "$(WEIGHTS)")
keras := $(if $(KERAS),--keras "$(KERAS)")

.PHONY: help setup demo serve model test torture lint types format docs sbom audit bench rivals clean

help:
	@echo "make demo [DATA=folder] [OUT=folder]  the main job, on synthetic cells or your own"
	@echo "make serve                            the workbench in the browser, with a demo case"
	@echo "make model DATA=folder [WEIGHTS=folder] [RECIPE=name] [MODEL=folder] [FLAGS=]"
	@echo "                                      from C-NMC's folds to a bundle; goes on if interrupted"
	@echo "make test                             all tests"
	@echo "make torture [PARTS=] [FLAGS=]        tries to break it, hours long, and prints its counts"
	@echo "make lint                             ruff, mypy and the layers of packages"
	@echo "make types                            the workbench's scripts by TypeScript's compiler; needs node"
	@echo "make docs                             the documentation site, build/docs/index.html"
	@echo "make sbom                             what is installed, as CycloneDX: build/sbom.json"
	@echo "make audit                            known vulnerabilities of what is installed (pip-audit)"
	@echo "make bench [DATA=] [WEIGHTS=]         all benchmarks, an hour or two; make bench-NAME for one"
	@echo "make rivals                           TensorFlow in .venv-keras, for the benchmarks to measure"

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "blastscope needs Python 3.11 or newer, and none is on the PATH: install it, or say PYTHON=/path/to/python." >&2; exit 1; fi
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) lacks the modules venv and ensurepip: install them (on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Setting up .venv (PyTorch makes this a few gigabytes; some minutes)."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' || { \
		echo "The packages could not be installed: see pip's words above (network? disk space?), then run make again." >&2; exit 1; }
	@touch $@

demo: setup
	@$(BIN)/blastscope demo --out "$(OUT)" $(if $(DATA),--data "$(DATA)")

serve: setup
	@$(BIN)/blastscope serve --demo

model: setup
	@if [ -z "$(DATA)" ]; then \
		echo "make model needs labelled cells: give DATA=folder, such as DATA=C-NMC_Leukemia." >&2; exit 1; fi
	@$(BIN)/blastscope build "$(DATA)" --out "$(MODEL)" $(weights) $(if $(RECIPE),--recipe "$(RECIPE)") $(FLAGS)

test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# PARTS: images files kills disk busy; FLAGS: see python -m tests.torture --help
torture: setup
	@nice -n 10 $(BIN)/python -m tests.torture $(PARTS) $(FLAGS)
	@BLASTSCOPE_KILLS=30 nice -n 10 $(BIN)/python -m pytest -q tests/workbench/test_faults.py

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

# tsc checks the pages' modules against the REST API; nothing of node is needed to use or test them.
types: setup
	@command -v npx >/dev/null || { \
		echo "make types needs node 20 or newer with npx: install it; nothing else here needs it." >&2; exit 1; }
	@$(BIN)/python tools/workbench_types.py
	@npx --yes --package typescript@5.9.3 tsc --noEmit --project build/types && echo "no error of types"

docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo build/docs/index.html

sbom: setup
	@mkdir -p build
	@$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible --no-validate \
		--of JSON -o build/sbom.json
	@echo build/sbom.json

audit: setup
	@$(BIN)/python tools/audit.py

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

BENCHMARKS := start bootstrap genetic_search prepare predict_files ensemble_of_four \
	frozen_features explain_panel training_step study growth busy
bench: $(addprefix bench-,$(BENCHMARKS))

bench-prepare bench-ensemble_of_four bench-growth: flags = $(data)
bench-study bench-frozen_features: flags = $(data) $(weights)
bench-training_step: flags = $(data) $(keras)
bench-predict_files: flags = $(data) $(weights) $(keras)

bench-%: setup
	@$(BIN)/python benchmarks/$*.py $(flags)

rivals: .venv-keras/.installed

.venv-keras/.installed:
	@$(PYTHON) -m venv .venv-keras
	@.venv-keras/bin/python -m pip install -q tensorflow keras
	@touch $@

clean:
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
