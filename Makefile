# Everything here works on a fresh machine with Python 3.11 or newer: no root, no Docker, no account.
#
#   make install   a virtual environment in $(VENV) with the `huntaze` command
#   make demo      see it work; ONCE=1 ends by itself
#   make test      every check and test
#   make lint      the checks alone
#   make fuzz      hold the API against its OpenAPI document for longer; FUZZ_EXAMPLES=500 says how long
#   make soak      kills, random walks and made-up input for longer, with other seeds each time; SOAK_ROUNDS=20
#   make chaos     everything that goes wrong, 130 kills and more; takes up to half an hour
#   make bench     measure this machine: a table, bench/results.json and bench/results.png; takes
#                  a quarter of an hour, QUICK=1 three minutes, BENCH="webhooks growth" chooses
#   make infra-test  what can be known of a deployment to Azure without one; takes minutes
#
# VENV=… puts the environment elsewhere, PYTHON=… makes it with another Python,
# PYTEST_ARGS="-k audit" chooses tests.

VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 4
PYTEST_ARGS ?=
FUZZ_EXAMPLES ?= 200
FUZZ_SEED ?= $(shell date +%s)
SOAK_ROUNDS ?= 5
CHAOS_KILLS ?= 100
CHAOS_EVENTS ?= 100000
SOAKED := tests/acceptance/test_kill_nine.py tests/acceptance/test_shared_ledger_kill.py \
	tests/acceptance/test_scale_out_kill.py tests/acceptance/test_bus_kill.py \
	tests/acceptance/test_jobs_kill.py tests/acceptance/test_openapi_fuzz.py \
	tests/integration/test_ledger_states.py tests/integration/test_bus_races.py \
	tests/integration/test_inbox_store.py tests/integration/test_replay.py \
	tests/acceptance/test_door_soak.py tests/acceptance/test_function_app_outage.py tests/unit
QUICK ?=
BENCH ?=

# The first that runs, is new enough and can make virtual environments; a name alone proves nothing.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
find_python = for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c '$(USABLE)' 2>/dev/null; then echo $$python; exit; fi; done
PYTHON ?= $(shell $(find_python))

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-for-tests
INFRA_VENV ?= .venv-infra
INFRA_STAMP := $(INFRA_VENV)/.installed

.DELETE_ON_ERROR:
.PHONY: install demo test lint fuzz soak chaos bench infra-test clean python

install: $(STAMP)
	@echo "$(BIN)/huntaze is ready"

demo: $(STAMP)
	@$(BIN)/huntaze demo $(if $(filter 1 yes true,$(ONCE)),--once)

test: $(TEST_STAMP)
	@sh scripts/checks.sh $(BIN) ruff format mypy pytest -- -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

lint: $(TEST_STAMP)
	@sh scripts/checks.sh $(BIN) ruff format mypy

fuzz: $(TEST_STAMP)
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_SEED=$(FUZZ_SEED) \
		$(BIN)/pytest -q tests/acceptance/test_openapi_fuzz.py

soak: $(TEST_STAMP)
	@seed=$(FUZZ_SEED); echo "== seeds from $$seed"; \
		export KILL_SEEDS="$$(seq -s ' ' $$seed $$((seed + $(SOAK_ROUNDS) - 1)))"; \
		export FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_SEED=$$seed KILL_EVENTS=5000 WALKS=40; \
		export DOOR_MESSAGES=1000000 REPLAYED=25000 OUTAGE_S=60; \
		$(BIN)/pytest -q --hypothesis-profile=search --hypothesis-seed=$$seed $(SOAKED)

# Everything that is marked as a fault, what takes minutes among it; each test is told as it ends.
chaos: $(TEST_STAMP)
	@CHAOS=1 KILLS=$(CHAOS_KILLS) KILL_EVENTS=$(CHAOS_EVENTS) \
		sh scripts/checks.sh $(BIN) pytest -- -m "fault or chaos" -v \
		-n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

bench: $(TEST_STAMP)
	@$(BIN)/python bench/run.py $(if $(filter 1 yes true,$(QUICK)),--quick) $(BENCH)

# Its own environment, since azure-cli and checkov bring two hundred packages of their own.
infra-test: $(INFRA_STAMP)
	@$(INFRA_VENV)/bin/python -m pytest -q -c infra/tests/pytest.ini --rootdir . infra/tests

# The Python that environments are made with; fails where there is none that will do.
python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer, with its venv module, is needed:" \
		"install it (Debian: python3-venv), or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "$(PYTHON)"

clean:
	rm -rf $(VENV) $(INFRA_VENV) build dist *.egg-info

# Stamps: what is installed is looked at again only when what it is made from has changed.

$(BIN)/python:
	@$(MAKE) --silent python >/dev/null
	@echo "making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)

$(STAMP): $(BIN)/python requirements.txt requirements-build.txt pyproject.toml
	@echo "installing into $(VENV)"
	@$(PIP) -r requirements-build.txt -r requirements.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(TEST_STAMP): $(STAMP) requirements-test.txt requirements-functions.txt
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) -r requirements-test.txt -c requirements.txt
	@$(PIP) --no-deps --ignore-requires-python -r requirements-functions.txt
	@touch $@

$(INFRA_STAMP): requirements-infra.txt
	@$(MAKE) --silent python >/dev/null
	@echo "installing azure-cli, checkov and Azure's management packages into $(INFRA_VENV)"
	@$(PYTHON) -m venv --clear $(INFRA_VENV)
	@$(INFRA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-compile -r requirements-infra.txt
	@touch $@
