# Everything a newcomer types. The environment is made on first use and again when its inputs change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := $(BIN)/bench
# The version is exact, so that numbers repeat. On Linux PyPI's build is that for CUDA, several GB; the CPU's, a tenth:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup
TORCH := torch==2.13.0

.PHONY: setup demo docs test test-slurm test-gpu test-tracking lint format speed coverage release clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ssdg-bench needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt $(TORCH) -e '.[dev]'
	touch $@

# The data and results go where every command looks by default: `bench table demo` finds them.
demo: setup
	$(BENCH) data phantom
	$(BENCH) sweep demo --jobs 2
	$(BENCH) table demo --format csv --output results/demo/table.csv
	$(BENCH) table demo --format latex --output results/demo/table.tex
	$(BENCH) table demo --format markdown --output results/demo/table.md
	cat results/demo/table.md

# The site, in build/site: a page for every method, task and command is made from the code. Warnings are errors.
docs: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,docs]'
	MYPYPATH=docs/generation:.typing $(BIN)/mypy docs/generation/*.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test: setup
	$(BIN)/pytest --numprocesses 2 --dist loadfile

# On a real cluster of one node, which needs root and Debian's slurm-wlm and munge; skipped with a reason elsewhere.
test-slurm: setup
	$(BIN)/pytest tests/slurm -m slurm --durations=0

# On the machine's GPU, which the other tests do not see; skipped without one.
test-gpu: setup
	BENCH_TEST_GPU=1 $(BIN)/pytest tests/gpu -m gpu --numprocesses 4

# With the real packages; apart from `make test`, because MONAI imports both where they are installed, which takes
# seconds in every process. `make clean setup` removes them again.
test-tracking: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,tracking]'
	$(BIN)/pytest tests/benchmark/tracking

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# OFFICIAL=folder compares with clones of the authors' repositories as well; what is missing is named in the table.
speed: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,speed]'
	$(BIN)/python -P speed/suite.py $(if $(OFFICIAL),--official $(OFFICIAL))

# Lines that tests run, in the processes of pytest: those of `bench` in processes of its own, as in sweeps, are not counted.
coverage: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,release]'
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov=ssdg --cov-report=term:skip-covered

# Builds what an upload would hold, and checks it: its description, its contents, the wheel in an environment of its own.
release: setup
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,release]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	BENCH_DIST=dist $(BIN)/pytest tests/test_wheel.py
	@echo "Checked, and uploaded nowhere: $$(ls dist | tr '\n' ' ')"
	@echo "A release is built from its tag: date its section of CHANGELOG.md, git tag v0.X.0, git push --tags,"
	@echo "make release again, then $(BIN)/twine upload dist/*"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
