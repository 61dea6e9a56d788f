# Everything is installed into virtual environments inside the repository; see CONTRIBUTING.md.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV = .venv/bin/uv
NEWEST = .venv/bin/python
OLDEST = .venv-2.11/bin/python
AUDIT = $(UV) tool run --quiet pip-audit==2.10.1 --strict --disable-pip --no-deps
NOX = $(UV) tool run --quiet --from nox==2026.10.20 --with uv nox

.PHONY: install test test-newest test-oldest test-matrix coverage mutate audit build test-live test-distributed soak reliability lint format layout docs demo screenshots bench bench-triggers constraints clean

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

test: test-newest test-oldest

test-newest: .venv/ready .venv/docs
	$(NEWEST) $(COVER) -m pytest

test-oldest: .venv-2.11/ready
	$(OLDEST) $(COVER) -m pytest

# Some branches run on one version of Airflow only, so the coverage of both versions is combined.
coverage: install .venv/docs
	rm -f .coverage .coverage.*
	$(MAKE) --jobs=2 --output-sync=target test COVER='-m coverage run'
	$(NEWEST) -m coverage combine --quiet
	$(NEWEST) -m coverage report

.venv/mutate: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group mutate
	touch $@

# Changes the pure modules in over a thousand ways. A unit test should fail for each. `mutmut results` lists the others.
mutate: .venv/mutate
	.venv/bin/mutmut run --max-children 2
	.venv/bin/mutmut results

# Looks for known vulnerabilities in the pinned packages of both environments. Needs PyPI's advisories.
audit: .venv/bin/uv
	$(AUDIT) --requirement constraints.txt
	$(AUDIT) --requirement constraints-2.11.txt

# pyenv offers an interpreter by its name only if PYENV_VERSION lists it.
test-matrix: export PYENV_VERSION ?= $(shell pyenv versions --bare 2>/dev/null | paste -sd: -)
test-matrix: build
	$(NOX) $(if $(SESSIONS),--session $(SESSIONS))

build: .venv/bin/uv
	rm -rf dist
	$(UV) build --quiet
	$(UV) tool run --quiet twine==7.0.0 check --strict dist/*

test-live: .venv/ready
	$(NEWEST) -m pytest --override-ini addopts= --import-mode=importlib tests/live

.venv/distributed: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group distributed
	touch $@

test-distributed: .venv/distributed
	$(NEWEST) -m pytest --override-ini addopts= --import-mode=importlib tests/distributed

# Plays new cases of tests/reliability for so many seconds. A case that fails says how to play it again.
SECONDS ?= 3600
soak: .venv/ready
	SOAK_SECONDS=$(SECONDS) $(NEWEST) -m pytest tests/reliability

# Writes docs/reliability.md from the counts of the suites. Takes about two and a half hours.
reliability: export RELIABILITY_REPORT_DIR = $(CURDIR)/build/reliability
reliability: install
	rm -rf $(RELIABILITY_REPORT_DIR)
	$(MAKE) test test-live test-matrix
	$(NEWEST) -m tests.reliability.report $(RELIABILITY_REPORT_DIR) > docs/reliability.md

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Which room of the package imports which, printed and as build/layout.svg.
layout: .venv/ready
	$(NEWEST) docs/tools/layout.py

docs: .venv/docs
	.venv/bin/mkdocs build --strict

demo: .venv/ready
	$(NEWEST) demo/demo.py

.venv/screenshots: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group screenshots
	touch $@

screenshots: .venv/screenshots
	$(NEWEST) -m demo.screenshots

.venv/bench: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group bench
	touch $@

bench: .venv/bench
	$(NEWEST) -m benchmarks

# Not part of bench: it takes ten minutes, and compares with amazon's trigger instead of boto3.
bench-triggers: .venv/ready
	$(NEWEST) benchmarks/triggers.py

constraints: .venv/bin/uv
	sh constraints.sh $(UV)

clean:
	rm -rf .venv .venv-2.11 .nox .airflow .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants build dist
