# Everything stays inside the clone: the environment in .venv, every cache in .cache, what runs in .run.
export XDG_CACHE_HOME := $(CURDIR)/.cache
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
BIN := .venv/bin
INSTALLED := .venv/.installed
MUTMUT := .venv/.mutmut

.PHONY: help venv run demo test check mutate bench clean
help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

venv: $(INSTALLED)  ## the environment, with hashed pins (Python 3.11 or newer)

$(INSTALLED): requirements/dev.txt pyproject.toml
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Watchkeeper needs Python 3.11 or newer with venv (Debian: apt install python3-venv); or say make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "installing into .venv with $$found, a minute or so ..."; \
	"$$found" -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: venv  ## collector and agent for this host, at http://127.0.0.1:8760/
	@exec $(BIN)/watchkeeper up --dir .run

demo: venv  ## the power of a simulated room fails, and the ladder is climbed in seconds
	@exec $(BIN)/watchkeeper demo --dir .run/demo

test: venv  ## all tests; one: make test ARGS="-k ladder"
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: venv  ## style, types, layers, and the rules of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter
	$(BIN)/python -m pytest --quiet tests/unit/test_house.py

mutate: $(MUTMUT)  ## wrong changes that the tests must notice; one module: make mutate ARGS=rules/evaluate.py
	$(BIN)/python tests/mutate.py $(ARGS)

$(MUTMUT): $(INSTALLED) requirements/mutate.txt
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/mutate.txt
	@touch $@

bench: venv  ## measured against the peers, as ratios; see docs/performance.md
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## back to a fresh clone (what runs keep in .run goes too)
	rm -rf .venv .cache .run dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
