# Needs Python >= 3.10 and nothing else. Everything is installed into $(VENV).
#
#   make demo    a sample shop under our worker, with traffic and metrics to look at
#   make test    the whole test suite (ARGS="-k name" for a part of it)
#   make lint    ruff, mypy --strict, the import rules
#   make bench   the benchmarks behind the figures in benchmarks/README.md
#   make clean   remove everything that was made here

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Most of a test's time is waiting for servers. A file stays in one process: its tests share some.
PARALLEL ?= -n 2 --dist loadfile
BIN = $(VENV)/bin
# The releases of gunicorn that the tests run besides the installed one; see tests/support/versions.py.
GUNICORNS = 22.0.0 23.0.0 25.3.0

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is older than 3.10: run make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.installed

$(VENV)/gunicorn-%/.installed: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(VENV)/gunicorn-$* gunicorn==$*
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/python sample_projects/demo.py

test: $(VENV)/.installed-dev $(GUNICORNS:%=$(VENV)/gunicorn-%/.installed)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/support sample_projects/demo.py sample_projects/wsgi_app sample_projects/asgi_app
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@set -e; for benchmark in benchmarks/bench_*.py; do \
	  echo "== $$benchmark"; PYTHONPATH=. $(BIN)/python $$benchmark; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
