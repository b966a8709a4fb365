# `make demo` and `make check` set up everything they need in .venv; nothing outside is touched.
# Every step says in one line what it does.

PYTHON ?= python3
# Tests run in two processes; those that need the machine are marked xdist_group("heavy") and
# never run beside each other.
PYTEST_ARGS ?= -n 2 --dist loadgroup
ARGS ?=

BIN := .venv/bin
READY := .venv/ready

# The same examples on every run of the build server; fresh ones on a developer's machine.
ifdef CI
export HYPOTHESIS_PROFILE ?= ci
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo check format lint types test soak bench bench-peers fuzz interop simulate clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with everything in it (the others do this by themselves)

demo: $(READY)  ## Show two strangers trade a task through a relay
	@$(BIN)/bazaar demo $(ARGS)

check: lint types test  ## Run every check: format, lint, types, layers, tests

format: $(READY)  ## Format the code and mend what lint can mend
	@echo "== format: ruff"
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

lint: $(READY)  ## Check format, lint rules and layers
	@echo "== format: ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "== lint: ruff check"
	@$(BIN)/ruff check .
	@echo "== layers: lint-imports"
	@$(BIN)/lint-imports --no-logo

types: $(READY)  ## Check types, by two checkers
	@echo "== types: mypy --strict"
	@$(BIN)/mypy
	@echo "== types: pyright"
	@$(BIN)/pyright

test: $(READY)  ## Run the tests (PYTEST_ARGS and ARGS go to pytest)
	@echo "== tests: pytest"
	@$(BIN)/python -m pytest $(PYTEST_ARGS) $(ARGS)

soak: $(READY)  ## Kill relay and nodes at random for minutes (ARGS="--kills 50 --seed N", or "--shared-claims 10000")
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(READY)  ## Measure speed, each figure beside its limit (ARGS go to the program)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

bench-peers: $(READY)  ## Measure intake beside another relay, installed into build/peers
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

fuzz: $(READY)  ## Send a million mutated frames and records to live processes, and abuse sessions
	@echo "== fuzz: strangers against live processes (BAZAAR_FUZZ_INPUTS, BAZAAR_FUZZ_SEED)"
	@BAZAAR_FUZZ_INPUTS=$${BAZAAR_FUZZ_INPUTS:-1000000} \
	  $(BIN)/python -m pytest tests/integration/test_strangers.py \
	  tests/simulations/test_adversaries.py -k mutated $(ARGS)
	@echo "== fuzz: yamux and noise against their models, then peers that abuse a live session"
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest --timeout 3600 -n 2 \
	  tests/properties/test_yamux.py tests/properties/test_noise_messages.py
	@BAZAAR_FUZZ_INPUTS=$${BAZAAR_FUZZ_INPUTS:-1000000} \
	  $(BIN)/python -m pytest tests/integration/test_sessions_attacked.py -k abuse $(ARGS)

interop: $(READY)  ## Trade records with a js-libp2p client (needs node and npm)
	@echo "== interop: a js-libp2p client publishes a record and reads it back"
	@$(BIN)/python -m pytest -rs tests/integration/test_interop.py $(ARGS)

simulate: $(READY)  ## Run ten thousand small worlds under virtual time (ARGS="--seconds 600")
	@echo "== simulations: real relays and nodes, virtual time, bad weather; a broken invariant fails"
	@$(BIN)/python -m bazaar_simulations.world $(ARGS)

clean:  ## Remove .venv and all caches
	@echo "== clean: removing .venv, caches and build results"
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when what is to be in it changes. A run that fails leaves no stamp, so the next one
# starts over; an environment whose Python is gone is replaced.
$(READY): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "bazaar needs Python 3.11 or newer, and there is no '$(PYTHON)'." >&2; \
	  echo "Install it, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bazaar needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1)." >&2; \
	  echo "Name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks the modules venv and ensurepip." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "== setup: making .venv with $$("$(PYTHON)" -V)"; \
	  "$(PYTHON)" -m venv --clear .venv; }
	@echo "== setup: installing uv, then the pinned dependencies (wheels only, no compiler)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 2 \
	    --constraint constraints.txt uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev \
	    --constraint constraints.txt --build-constraint constraints.txt || { \
	  echo "The dependencies could not be installed; the reason stands above." >&2; \
	  echo "Setting up needs the Python package index, directly or by a mirror" >&2; \
	  echo "(PIP_INDEX_URL and UV_INDEX_URL). Then call make again." >&2; exit 1; }
	@touch $@
