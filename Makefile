# The whole developer interface. GNU Make 3.81 (macOS) is enough.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes
EDITABLE := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
WEB_SOURCES := $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

# Of the command line alone: many environments have a PORT that means something else.
AT := $(if $(filter command,$(word 1,$(origin PORT))),--port $(PORT))

.PHONY: help install demo servers test check check-app check-rest bench chaos lock wheel clean

help:
	@echo "make install   the service and its screen, into .venv and app/static"
	@echo "make demo      the same, then a simulated plant running; the URL is printed (make demo PORT=8001)"
	@echo "make check     the fast part of the tests, for the inner loop"
	@echo "make test      linters, types and all tests, on real servers"
	@echo "make bench     the benchmarks: a table, and build/bench.json"
	@echo "make chaos     the fault-injection suite, long form"
	@echo "make lock      the lock files, anew from pyproject.toml"
	@echo "make wheel     dist/andon-*.whl with the built screen"
	@echo "make clean     away with everything that these made, except .andon/, the demo's data"

install: .venv/.installed app/static/index.html

demo: install
	@$(BIN)/andon demo $(AT)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Andon needs Python 3.11 or newer on the PATH." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks its venv module:" \
		"install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "==> Python environment in .venv"
	@$(PYTHON) -m venv .venv

.venv/.installed: requirements.lock requirements-build.lock pyproject.toml | .venv/bin/python
	@echo "==> Python packages from requirements.lock"
	@$(PIP) -r requirements.lock -r requirements-build.lock
	@$(EDITABLE)
	@touch $@

.venv/.developing: requirements-dev.lock .venv/.installed
	@echo "==> Python packages from requirements-dev.lock"
	@$(PIP) -r requirements-dev.lock
	@touch $@

app/static/index.html: deploy/ui.py $(WEB_SOURCES) | .venv/.installed
	@echo "==> the screen into app/static"
	@$(BIN)/python deploy/ui.py build
	@touch $@

servers: .venv/.installed
	@echo "==> servers to test on"
	@$(BIN)/python deploy/testbed.py

test: .venv/.developing app/static/index.html servers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python deploy/ui.py check
	$(BIN)/python deploy/ui.py test
	$(BIN)/pytest

check: .venv/.developing
	@$(MAKE) --no-print-directory -j2 check-app check-rest

INNER := -q -m "not servers and not slow" --hypothesis-profile=inner

check-app:
	$(BIN)/pytest $(INNER) tests/app

check-rest:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(INNER) --ignore=tests/app

.venv/.benching: requirements-bench.lock .venv/.developing
	@echo "==> Python packages from requirements-bench.lock"
	@$(PIP) -r requirements-bench.lock
	@touch $@

bench: .venv/.benching app/static/index.html servers
	$(BIN)/python -m benchmarks

chaos: .venv/.developing app/static/index.html servers
	ANDON_TEST_CHAOS=long $(BIN)/pytest -m chaos

lock: .venv/.developing
	$(UV_COMPILE) pyproject.toml -o requirements.lock
	$(UV_COMPILE) --group build -o requirements-build.lock
	$(UV_COMPILE) pyproject.toml --group dev -o requirements-dev.lock
	$(UV_COMPILE) --group ui -o requirements-ui.lock
	$(UV_COMPILE) --group bench -c requirements-dev.lock -o requirements-bench.lock
	$(BIN)/python deploy/ui.py lock

wheel: .venv/.installed app/static/index.html
	@$(BIN)/hatchling build -t wheel

clean:
	rm -rf .venv app/static web/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
