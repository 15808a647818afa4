# Everything runs in .venv, which the first target that needs it makes: only Python 3.11+, make and git are asked for.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test check fix docs

setup: $(READY)

demo: $(READY)
	$(BIN)/autolabel demo --out demo-output

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pipelines.cli_docs --check docs/cli.md

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)
	$(BIN)/python -m pipelines.cli_docs docs/cli.md
	$(BIN)/python -m tests.autolabel.formats.kept docs/formats.md

# pip does nothing where the environment is up to date; the stamp comes last, so that a broken install is tried again.
# Of the tens of thousands of modules that come along, Python compiles those that it meets.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "autolabel needs Python 3.11 or newer; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@
