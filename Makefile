# Everything is installed into virtual environments inside the repository; see CONTRIBUTING.md.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV = .venv/bin/uv
NEWEST = .venv/bin/python
OLDEST = .venv-2.11/bin/python
AUDIT = $(UV) tool run --quiet pip-audit==2.10.1 --strict --disable-pip --no-deps
NOX = $(UV) tool run --quiet --from nox==2026.10.20 --with uv nox

.PHONY: install test test-unit test-all test-oldest test-reliability test-readme beside-oldest test-matrix sessions coverage mutate audit build test-live test-live-whole test-distributed soak reliability reliability-page lint format layout docs demo demo-ui screenshots bench bench-triggers constraints clean

# Without compiled files, every process that imports Airflow compiles it again, for some seconds.
unexport PYTHONDONTWRITEBYTECODE

# How many processes run tests at a time; 0 is none beside pytest's own.
export WORKERS ?= 2
PYTEST = -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
# For suites that start processes of their own, or that an option of pyproject.toml leaves out.
PYTEST_ALONE = -m pytest --override-ini addopts= --import-mode=importlib

install: .venv/ready .venv-2.11/ready

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(NEWEST) -m pip install --quiet uv

.venv/ready: .venv/bin/uv pyproject.toml constraints.txt
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --editable '.[local,pixels]' --group dev
	touch $@

.venv-2.11/ready: .venv/bin/uv pyproject.toml constraints-2.11.txt
	$(UV) venv --quiet --allow-existing --python $(NEWEST) .venv-2.11
	$(UV) pip install --quiet --python $(OLDEST) --constraint constraints-2.11.txt --editable '.[local,pixels]' --group dev
	touch $@

.venv/docs: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group docs
	touch $@

# Every promise of the package, on the newest Airflow.
test: .venv/docs
	$(NEWEST) $(COVER) $(PYTEST)

# The rooms that can be tested without a server or a run of Airflow.
test-unit: .venv/ready
	$(NEWEST) $(PYTEST) tests/unit

test-oldest: .venv-2.11/ready
	$(OLDEST) $(COVER) $(PYTEST)

# Every suite. Takes hours, most of them for the matrix.
test-all: test test-oldest test-reliability test-readme test-matrix test-live test-distributed

# All cases of the suites of which `make test` plays some.
PLAYED = tests/reliability tests/wire/test_dataset.py tests/wire/test_import_once.py tests/wire/test_copies.py
test-reliability: install
	$(NEWEST) -m pytest --whole $(PLAYED)
	$(OLDEST) -m pytest --whole $(PLAYED)

# What .ci/run runs on one core, while `test-oldest` runs on the other.
beside-oldest:
	$(MAKE) --jobs=1 test-live test-distributed test-readme test-matrix SESSIONS='"airflow(3.0-py3.11)"'

# Installs the package into an empty home, and types what the README says. Does what all other pages say.
test-readme: install
	$(NEWEST) $(PYTEST_ALONE) tests/docs/test_readme_first_hour.py tests/docs/test_tutorial.py tests/airflow/test_code_blocks.py
	$(OLDEST) $(PYTEST_ALONE) tests/airflow/test_code_blocks.py

# Some branches run on one version of Airflow only, so the coverage of both versions is combined. Each of the two runs in
# one process, beside the other.
coverage: install .venv/docs
	rm -f .coverage .coverage.*
	$(MAKE) --jobs=2 --output-sync=target test test-oldest WORKERS=0 COVER='-m coverage run'
	$(NEWEST) -m coverage combine --quiet
	$(NEWEST) -m coverage report

.venv/mutate: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group mutate
	touch $@

# Changes the pure modules in over two thousand ways. A unit test should fail for each. `mutmut results` lists the others.
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

# The names of all sessions as JSON: one job for each in .github/workflows/nightly.yml.
sessions: .venv/bin/uv
	@$(NOX) --list --json | $(NEWEST) -c 'import json, sys; print(json.dumps([each["session"] for each in json.load(sys.stdin)]))'

build: .venv/bin/uv
	rm -rf dist
	$(UV) build --quiet
	$(UV) tool run --quiet twine==7.0.0 check --strict dist/*

# The demo is tested here: like these suites, it needs a whole Airflow and takes minutes.
test-live: .venv/ready
	$(NEWEST) $(PYTEST_ALONE) tests/live tests/demo

# 400 arrivals in four minutes while triggerers and schedulers are killed, four times; and how soon a run starts.
test-live-whole: .venv/ready
	$(NEWEST) $(PYTEST_ALONE) --whole -s tests/live/test_events.py

.venv/distributed: .venv/ready
	$(UV) pip install --quiet --python $(NEWEST) --constraint constraints.txt --group distributed
	touch $@

test-distributed: .venv/distributed
	$(NEWEST) $(PYTEST_ALONE) tests/distributed

# Plays new cases of tests/reliability for so many seconds. A case that fails says how to play it again.
SECONDS ?= 3600
soak: .venv/ready
	SOAK_SECONDS=$(SECONDS) $(NEWEST) -m pytest tests/reliability

# Counts by suite and version. A suite that runs with this folder in RELIABILITY_REPORT_DIR counts anew.
COUNTS = $(CURDIR)/tests/reliability/counts

# Writes docs/reliability.md from the counts of the suites, all counted anew. Takes hours.
reliability: export RELIABILITY_REPORT_DIR = $(COUNTS)
reliability: install
	rm -rf $(COUNTS)
	$(MAKE) test test-oldest test-reliability soak test-live test-matrix WORKERS=0
	$(MAKE) reliability-page

# The same page from the counts that are there.
reliability-page: .venv/ready
	$(NEWEST) -m tests.reliability.report $(COUNTS) > docs/reliability.md

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
	$(NEWEST) -m demo.demo

# The same in Airflow's own pages, until Ctrl-C.
demo-ui: .venv/ready
	$(NEWEST) -m demo.ui

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
