# For a fresh machine with Python 3.11 or newer: make run, make cluster, make test. Each sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
FAULTS ?= 44
SEEDS ?= 1..2000
JOBS ?= 2
WORKERS ?= 2

.PHONY: run test cluster soak-cluster sim mutants check format bench bench-compare proto sync dashboard clean

run: $(VENV)/.run   ## start a member on 127.0.0.1:2379 (clients) and :2380 (peers); ARGS="--flag=..." adds flags
	exec $(BIN)/etcd $(ARGS)

test: $(VENV)/.dev  ## run all tests, two at a time, or WORKERS=N
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

cluster: $(VENV)/.run ## start three members, with clients at ports 2379, 22379, 32379; Ctrl-C stops them
	exec $(BIN)/python -m quorate.testing.local -- $(ARGS)

soak-cluster: $(VENV)/.dev ## kill, freeze and cut off members of clusters of three and five under load, for minutes
	QUORATE_CLUSTER_FAULTS=$(FAULTS) QUORATE_CLUSTER_SIZES=3,5 $(BIN)/python -m pytest tests/cluster/test_cluster_faults.py -s $(ARGS)

sim: $(VENV)/.dev ## whole clusters in a simulated world with faults, a run for each seed; SEEDS=A..B JOBS=N
	$(BIN)/python -m quorate.testing.sim --seeds $(SEEDS) --jobs $(JOBS) $(ARGS)

mutants: $(VENV)/.dev ## whether the simulator sees bugs that are planted, and how many seeds that takes; ARGS="NAME --seeds A..B"
	$(BIN)/python -m quorate.testing.sim.mutants $(ARGS)

check: $(VENV)/.dev ## format, lint, types, floors, generated modules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/gen_proto.py --check
	$(BIN)/python tools/gen_sync.py --check
	$(BIN)/python tools/gen_flags.py --check
	$(BIN)/python tools/gen_dashboard.py --check

format: $(VENV)/.dev ## put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## put and get beside real etcd, one member and three, within a minute
	$(BIN)/python bench/compare.py --scale 0.2 --pairs 1 --store-pairs 0 --topologies one,three --fresh \
	  --rows put-1,put-1000-leader,range-1-l,range-1000-l,range-1000-s --json build/bench.json $(ARGS)

bench-compare: $(VENV)/.dev ## the whole table of docs/performance.md, for hours; goes on where it was interrupted
	$(BIN)/python bench/compare.py $(ARGS)

proto: $(VENV)/.dev ## generate the protobuf modules anew
	$(BIN)/python tools/gen_proto.py

sync: $(VENV)/.dev ## generate the sync client anew from the asyncio client
	$(BIN)/python tools/gen_sync.py

dashboard: $(VENV)/.dev ## generate the Grafana dashboard anew from the list of its panels
	$(BIN)/python tools/gen_dashboard.py

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
