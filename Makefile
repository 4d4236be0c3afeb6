# Everything here sets up what it needs. `make demo` and `make test` are all a newcomer types.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check lint format clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/'

# torch first and pinned: with any other range pip fetches gigabytes of CUDA libraries.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[postgres]"
	@touch $(STAMP)

demo: $(STAMP) ## watch Kedge do its whole job on real data (under 90 s once installed)
	$(BIN)/kedge demo

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -q -n auto

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

clean: ## forget the environment
	rm -rf $(VENV) demo-output
