# Everything here sets up what it needs. `make demo` and `make test` are all a newcomer types.
# Any Python from 3.11 on will do; the first one found is taken, or say PYTHON=/path/to/python.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TESTS  ?=

.PHONY: help demo test check lint format clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/'

# torch first and pinned: with any other range pip fetches gigabytes of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Kedge needs Python 3.11 or newer: install one, or name it with PYTHON=…"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "making $(VENV) with $$($(PYTHON) --version) and installing; this takes some minutes once"; \
		$(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[postgres]"
	@touch $(STAMP)

demo: $(STAMP) ## watch Kedge do its whole job on real data (one to three minutes once installed)
	@$(BIN)/kedge demo

test: $(STAMP) ## run the tests; TESTS="tests/storage -k outbox" for some of them
	@$(BIN)/python -m pytest -q -n auto --dist worksteal $(TESTS)

lint: $(STAMP) ## formatter, linter, types, layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

check: lint test ## everything a change must pass

format: $(STAMP) ## let the formatter have its way
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## forget the environment and what the demo left
	rm -rf $(VENV) demo-output
