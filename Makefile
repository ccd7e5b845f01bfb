.DEFAULT_GOAL := help
.PHONY: help install demo experiments test quick lint clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed ## the pinned environment in .venv, pipeline and tests included

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --constraint constraints.txt torch --editable '.[dev]'
	@touch $@

demo: install ## raw data to a measured ONNX model, then the metrics and three held-out questions
	dvc repro
	refrain report

# Columns that hold checksums, paths and long texts, scores of single variants, and what a preset's name says already
DROP := .*/|conf$$|composed|Created|data\.(folder|sources)|MB|rougeL(_low|_high|\.(?!best))|train\.recipe|template\.jinja|model\.(?!name|hub)
DROP := $(DROP)|method\.(weights|base_bits|adapter\.(?!rank))|export\.(?!best)

experiments: install ## side by side in 120 columns, the best first
	@dvc exp show --only-changed --sort-by rougeL.best --sort-order desc --drop '$(DROP)'

test: lint ## ruff, mypy --strict and every test, the whole pipeline included
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

quick: lint ## ruff, mypy --strict and the tests that are neither heavy nor slow, for every commit
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not slow and not heavy"

lint: install ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

clean: ## remove what the stages made; DVC's cache and .venv stay
	rm -rf data/linked data/prepared models/linked models/base models/adapter models/merged models/onnx models/gguf reports/loss reports/predictions
