# Everything a fresh clone needs: a Python from 3.11 on, make and git. `make` alone lists the targets.
# `make setup` installs exactly what requirements-dev.lock pins, each file checked by its hash.

PYTHON ?= python3
ARGS ?=
# Each worker of the tests starts a PostgreSQL of its own; one that DATABASE_URL names can't be shared.
WORKERS ?= $(if $(DATABASE_URL),0,3)

.SHELLFLAGS := -euc
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
PACKAGES := .venv/.packages
READY := .venv/.ready
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile --quiet --generate-hashes --strip-extras \
	--allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup test check format demo bench chaos chaos-mutations fuzz soak soak-send docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1: \2/p' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the locked packages and nurture itself; does nothing when that is done

$(PACKAGES): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "nurture needs Python 3.11 or newer, and '$(PYTHON)' is none: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "this Python can't make virtual environments: on Debian or Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

$(READY): $(PACKAGES) pyproject.toml
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

test: setup ## run the tests; ARGS="tests/domain -x" runs some of them
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## linters, types in strict mode, the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup ## the whole chain with sample leads and readers, no network; EXIT=1 stops after the summary
	$(BIN)/nurture demo $(if $(EXIT),--once)

bench: setup ## half an hour: speed as ratios to limits, into docs/performance.md (needs: apt-get install postfix wrk); ARGS=--quick
	$(BIN)/python -m bench $(ARGS)

chaos: setup ## faults of every kind while it sends, on both databases at once; NURTURE_CHAOS_FAULTS, _LEADS and _SEED say how much
	NURTURE_CHAOS_LEADS=$${NURTURE_CHAOS_LEADS:-20000} NURTURE_CHAOS_FAULTS=$${NURTURE_CHAOS_FAULTS:-210} \
	  $(BIN)/pytest --numprocesses 2 -rP --verbose -o faulthandler_timeout=0 -k 'no_promise' tests/chaos $(ARGS)

chaos-mutations: setup ## each guard of the promise taken out in turn, and the fault that catches it
	NURTURE_CHAOS_GUARDS=all $(BIN)/pytest --numprocesses 2 -rP --verbose -k 'without_a_guard' tests/chaos $(ARGS)

fuzz: setup ## 100,000 hostile values of every field of a letter, and what a strict parser makes of them
	NURTURE_HOSTILE_CASES=$${NURTURE_HOSTILE_CASES:-100000} $(BIN)/pytest --numprocesses 2 tests/content/test_hostile_headers.py $(ARGS)

soak: setup ## a million lead-days through the real stages, the promises checked after each day; ARGS="--leads 500 --days 20"
	$(BIN)/python -m soak $(ARGS)

soak-send: setup ## sends at full rate for 20 minutes and looks whether anything grows; ARGS="--minutes 3 --postgresql"
	$(BIN)/python -m soak.sending $(ARGS)

docs: setup ## write docs/reference from the models
	PYTHONPATH=. $(BIN)/python docs/generate.py

lock: ## pin anew what pyproject.toml asks for; LOCK_ARGS=--upgrade takes newer versions
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet 'pip-tools>=7.5'
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' \
	  > build/dev.in
	$(PIP_COMPILE) $(LOCK_ARGS) --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) $(LOCK_ARGS) --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml build/dev.in

clean: ## remove what the targets above made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find nurture tests bench soak -name __pycache__ -type d -prune -exec rm -rf {} +
