# Two commands for a fresh machine with Python 3.11 or newer: make run, make test. Each sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test check format bench proto clean

run: $(VENV)/.run   ## start a member on 127.0.0.1:2379 (clients) and :2380 (peers); ARGS="--flag=..." adds flags
	exec $(BIN)/etcd $(ARGS)

test: $(VENV)/.dev  ## run all tests
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## format, lint, types, floors, generated modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/gen_proto.py --check

format: $(VENV)/.dev ## put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## put and get beside real etcd, with ratios
	$(BIN)/python bench/first_light.py $(ARGS)

proto: $(VENV)/.dev ## generate the protobuf modules anew
	$(BIN)/python tools/gen_proto.py

clean:
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
