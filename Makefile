# `make demo` and `make test` do everything on a fresh machine: each sets up a virtual environment
# in .venv first, once, and again after pyproject.toml changes.
#
#   PYTHON=python3.12  the interpreter to make the environment with; found, if not given
#   VENV=path          the environment's folder
#   PYTEST_ARGS=…      further arguments of pytest, as in make test PYTEST_ARGS="-k conv"

VENV ?= .venv
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2> /dev/null \
	&& echo $$python && break; done)
PYTEST_ARGS ?=

BIN := $(VENV)/bin
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/aivmc,.cache)
RUN := $(BIN)/python -m
PIP := $(RUN) pip --disable-pip-version-check install --quiet

.PHONY: help demo demo-values test test-all test-sim test-gpu exhaustive cross cross-all check lint bench docs clean

help:
	@echo "make demo         read a line of text with a published model; compare the bits with README.md"
	@echo "make test         the tests (a few minutes)"
	@echo "make test-all     the slow tests, too"
	@echo "make test-sim     the GPU target's code of all ops on the simulated GPU (half an hour)"
	@echo "make test-gpu     the GPU target's code on an NVIDIA GPU, which this machine must have"
	@echo "make exhaustive   elementary functions: all f32 inputs, many of f64 (an hour on two cores)"
	@echo "make cross        one kernel file on emulated processors (installs QEMU and more, as root)"
	@echo "make cross-all    all cases and the full models there, too (an hour)"
	@echo "make check        format, lint, types and layers of imports; then the tests"
	@echo "make bench        latency against ONNX Runtime, of models and of functions; cost of receipts"
	@echo "make docs         write docs/ops.md, numerics-f64.md, necessity.md and conformance/ anew"
	@echo "make demo-values  write the demo's values into README.md, after a change that moves them"
	@echo "make clean        remove the environment, caches and everything built"

demo: $(VENV)/.demo
	$(RUN) examples.ocr.demo

demo-values: $(VENV)/.demo
	$(RUN) examples.ocr.state_values

test: $(VENV)/.dev
	$(RUN) pytest -m "not slow and not exhaustive and not cross and not gpu" $(PYTEST_ARGS)

test-all: $(VENV)/.dev
	$(RUN) pytest $(PYTEST_ARGS)

exhaustive: $(VENV)/.dev
	$(RUN) pytest -m exhaustive tests/exhaustive $(PYTEST_ARGS)

test-sim: $(VENV)/.dev
	$(RUN) pytest -m slow tests/backends/test_cuda.py::test_op_in_all_cases \
		tests/conformance/test_vectors.py::test_gpu_on_all $(PYTEST_ARGS)

test-gpu: $(VENV)/.dev
	$(RUN) pytest -m gpu tests/gpu $(PYTEST_ARGS)

cross: $(VENV)/.dev
	tests/cross/install.sh $(BIN)/python $(CACHE)/cross
	$(RUN) pytest -m "cross and not slow" tests/cross $(PYTEST_ARGS)

cross-all: $(VENV)/.dev
	tests/cross/install.sh $(BIN)/python $(CACHE)/cross
	$(RUN) pytest -m cross tests/cross $(PYTEST_ARGS)

check: lint test

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev
	$(RUN) examples.bench.bench
	$(RUN) examples.bench.functions
	$(RUN) examples.bench.protocol

docs: $(VENV)/.dev
	$(RUN) docs.generate_ops
	$(RUN) docs.generate_numerics_f64
	$(RUN) tests.necessity.sabotages
	$(RUN) tests.conformance.generate

clean:
	rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist aivmc.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp for each set of extras. A set-up that was cut short leaves none, and is done again.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV): about 250 MB to download, once"
	$(PIP) --editable ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV): about 300 MB to download, once"
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Install Python 3.11 or newer, with its venv module (on Debian and \
	Ubuntu: apt install python3-venv), or name one: make PYTHON=path" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
