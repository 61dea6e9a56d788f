# Everything is installed into virtual environments inside the repository; see CONTRIBUTING.md.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV = .venv/bin/uv
NEWEST = .venv/bin/python
OLDEST = .venv-2.11/bin/python

.PHONY: install test test-live test-distributed lint format docs demo bench bench-triggers constraints clean

install: .venv/ready .venv-2.11/ready

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(NEWEST) -m pip install --quiet uv

.venv/ready: .venv/bin/uv pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --editable '.[local]' --group dev
	touch $@

.venv-2.11/ready: .venv/bin/uv pyproject.toml constraints-2.11.txt
	$(UV) venv --quiet --allow-existing --python $(NEWEST) .venv-2.11
	$(UV) pip install --quiet --python $(OLDEST) --constraint constraints-2.11.txt --editable '.[local]' --group dev
	touch $@

.venv/docs: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group docs
	touch $@

test: install .venv/docs
	$(NEWEST) -m pytest
	$(OLDEST) -m pytest

test-live: .venv/ready
	$(NEWEST) -m pytest --override-ini addopts= --import-mode=importlib tests/live

.venv/distributed: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group distributed
	touch $@

test-distributed: .venv/distributed
	$(NEWEST) -m pytest --override-ini addopts= --import-mode=importlib tests/distributed

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: .venv/docs
	.venv/bin/mkdocs build --strict

demo: .venv/ready
	$(NEWEST) demo/demo.py

.venv/bench: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group bench
	touch $@

bench: .venv/bench
	$(NEWEST) -m benchmarks

# Apart: it takes ten minutes, and is beside amazon's trigger and not boto3.
bench-triggers: .venv/ready
	$(NEWEST) benchmarks/triggers.py

constraints: .venv/bin/uv
	sh constraints.sh $(UV)

clean:
	rm -rf .venv .venv-2.11 .airflow .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
