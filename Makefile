# Everything that a person types while working on Anchorhold. `make` alone lists it.
# Each target works alone and again, and skips what is done.

PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS ?= convert training decode
PYTEST_ARGS ?=
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format types bench readme locks wheels bundle clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Prepare .venv for everything (the first time: ten minutes, llama.cpp is compiled)
	@$(PYTHON) -m offline_wheels.prepare

demo: setup ## Walk the whole road on the sample project, and see five answers
	@$(BIN)/python examples/demo.py

test: setup ## Run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: format types test ## Format, lint, strict types and tests: what a change must pass

format: setup ## Check format and lint (no change is made)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@sh -n offline_wheels/install.sh
	@bash -n .ci/run

types: setup ## Check types, strictly
	@$(BIN)/mypy

bench: setup ## Measure against peers; one JSON line a figure
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name; done

readme: setup ## Refresh the help shown in README.md from the real one
	@$(BIN)/python -m tests.house.help_block

locks: ## Resolve the pins of pyproject.toml into offline_wheels/locks again
	@$(PYTHON) -m offline_wheels.lock

wheels: setup ## Fill offline_wheels/wheels with every wheel, hashes verified
	@$(BIN)/python -m offline_wheels.fill

bundle: wheels ## Put program, wheels, base model and installer into bundle/
	@$(BIN)/python -m offline_wheels.pack

clean: ## Remove what was made, but for .venv and the compiled llama.cpp wheel
	@rm -rf build demo bundle offline_wheels/wheels .mypy_cache .ruff_cache .pytest_cache .bench
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
