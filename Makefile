# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process: the tests run in several processes.
TEST_THREADS ?= 1

.PHONY: demo test lint bench docs dist clean

demo: $(VENV)/installed  ## A whole study on phantom hearts: CPU, no download, minutes.
	$(BIN)/echocli demo -o echo-demo --overwrite

test: $(VENV)/installed-dev  ## Layout, types and style are part of the tests' promise.
	OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/pytest -n auto -q

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev  ## Prints tables; see docs/ for figures and the machine.
	$(BIN)/python benchmarks/learning.py --small --folder $(VENV)/bench
	$(BIN)/python benchmarks/phantom_difficulty.py
	$(BIN)/python benchmarks/intake.py --small

docs: $(VENV)/installed-dev  ## The reference, after an option, a setting or a document has changed.
	$(BIN)/python docs/generate.py

dist:  ## Wheel, sdist and SBOM of the commit, tried in a clean environment.
	PYTHON=$(PYTHON) .ci/package

clean:
	rm -rf $(VENV) build dist *.egg-info echo-demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/installed
