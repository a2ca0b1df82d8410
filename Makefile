# make help lists the targets. Everything is installed into .venv; nothing else is touched.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The first interpreter here that fits; or make PYTHON=/path/to/python3.12 train
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo "$$name"; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# Overrides for make train: make train ARGS="model=resnet50 data=dogimages"
ARGS ?=

.PHONY: help train test test-all tour notebooks lint bench docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

train: .venv/.core ## install the core and train on the built-in sample (ARGS="model=resnet50 …")
	$(BIN)/python -m dogbreed.train $(ARGS)

# Two processes more than the two cores that CI has: many tests wait for others.
test: .venv/.dev ## install the dev extra and run the quick tests, under 10 minutes on 2 cores
	$(BIN)/python -m pytest -n 4 --dist worksteal

test-all: .venv/.dev ## all tests, the slow ones too
	$(BIN)/python -m pytest -m "not gpu"

tour: .venv/.dev ## README's five minutes and the notebooks, as they stand
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow --durations=0 tests/test_tour.py

notebooks: .venv/.dev ## run the notebooks, and write docs/notebooks/ from what came of them
	$(BIN)/python -m docs.notebook_pages docs/notebooks

lint: .venv/.dev ## style, types, directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/.dev ## speed and accuracy against peers, into benchmarks/results/
	$(BIN)/python -m benchmarks

docs: .venv/.dev ## the documentation as a site in site/; a link that leads nowhere fails it
	$(BIN)/python -m docs site

clean: ## remove what can be made again (.venv, caches, site); runs/ stays
	rm -rf .venv site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "Error: no Python 3.11, 3.12 or 3.13 found: install one, or name it, make PYTHON=FILE." >&2; exit 2; fi
	$(PYTHON) -m venv .venv

# The stamps make a second call start in seconds.
.venv/.core: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing the core into .venv (several GB the first time) …"
	$(INSTALL) .
	@touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing the dev extra into .venv …"
	$(INSTALL) ".[dev]"
	@touch .venv/.core $@
