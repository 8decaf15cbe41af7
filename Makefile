# make demo   sets up .venv if needed and super-resolves a real CT
# make web    brings the viewer of `mesr web` by npm
# make test   the same set-up with the tools, then lint, types, tests
# make release  what a release is checked by (RELEASING.md)
#
# PyTorch comes from the usual index. Elsewhere, name its own:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu     CPU build, about 200 MB (Linux)
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130   CUDA 13 build, about 2.5 GB

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt

VIEWER := src/mesr/web/static/vendor/niivue/index.js

.PHONY: demo web test lint types unit docs release clean

demo: $(VENV)/installed
	$(BIN)/mesr demo

web: $(VIEWER)

$(VIEWER): web/package.json web/package-lock.json web/vendor.mjs
	npm ci --prefix web --ignore-scripts --no-audit --no-fund --silent
	node web/vendor.mjs

test: lint types unit

lint: $(VENV)/tools
	$(BIN)/ruff format --check src tests benchmarks scripts slicer
	$(BIN)/ruff check src tests benchmarks scripts slicer

types: $(VENV)/tools
	$(BIN)/mypy

unit: $(VENV)/tools
	$(BIN)/pytest

docs: $(VENV)/tools
	$(BIN)/mkdocs build --strict

release: $(VENV)/tools $(VIEWER)
	$(PIP) -e '.[release]'
	$(BIN)/python scripts/release.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mesr needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/torch: $(VENV)/bin/python constraints.txt
	$(PIP) torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/tools: $(VENV)/torch pyproject.toml
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) web/node_modules $(dir $(VIEWER)) dist site .pytest_cache .mypy_cache .ruff_cache
