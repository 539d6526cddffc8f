# `make run` and `make test` are all one needs; the other targets serve who works on the code.

.PHONY: run test check bench bench-quick bench-growth phi-figures format lock docs clean
.DEFAULT_GOAL := run

VENV := .venv
BIN := $(VENV)/bin
# The lock is its own constraint: pip before 23.3 takes `pydantic[email]`, which another package asks for, for something
# else than the `pydantic` that is pinned, and the newest of it, whose hash nobody has named.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# The first that runs and is new enough: a name on the PATH may be an empty shim.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c '$(IS_NEW_ENOUGH)' >/dev/null 2>&1; then echo $$name; break; fi; done)

run: $(VENV)/.installed
	@exec $(BIN)/python -m serve

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.drift

# Ours beside the floor and the peers; writes docs/performance.md. `bench-quick`: beside the floor only, in a minute.
# The first of them loads 200,000 cases, which takes another one or two.
bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.installed
	@$(BIN)/python -m benchmarks quick

# Many cases, late pages, a million requests, two workers: loading and measuring take half an hour.
bench-growth: $(VENV)/.installed
	@$(BIN)/python -m benchmarks growth

# How much of what identifies patients the guard finds, and how often it refuses what is clean.
phi-figures: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.phi.figures

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Writes docs/database-schema.md from the tables.
docs: $(VENV)/.installed
	@$(BIN)/piccolo tenancy write_schema_document

# Needs `uv`; upgrades what pyproject.toml leaves open.
lock:
	uv pip compile --quiet --universal --generate-hashes --no-header \
		--python-version 3.11 --upgrade pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header \
		--python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found on the PATH" >&2; exit 1; }
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' || { echo "Python 3.11 or newer is needed, $(PYTHON) is older" >&2; exit 1; }
	@echo "Creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(BIN)/python
	@echo "Installing the dependencies; the first time this takes half a minute …"
	@$(INSTALL) -r requirements.lock -c requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(INSTALL) -r requirements-dev.lock -c requirements-dev.lock
	@touch $@
