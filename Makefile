# VertebralGrading: what a developer types. `make help` lists it.
#
# Every target builds its own environment in .venv, from nothing, with the versions of constraints.txt, and again
# whenever pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
# A second environment, with the release of Slicer's core that users have; the first has the one that follows it.
RELEASE := .venv-slicer-5.12
RELEASE_PINS := slicer-core==5.12.4.0 vtk==9.6.0
# What Slicer's renderer and Qt need of the system.
DEBIAN := libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libglib2.0-0 libx11-6 libxkbcommon0 libfontconfig1 libdbus-1-3 fonts-dejavu-core
PY := $(VENV)/bin/python
# pip builds the package in an environment of its own, which is held to the same versions by these variables.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip
# Further arguments for pytest, for example: make test ARGS="-k morphometry -x"
ARGS ?=
# Tests run on all cores, at most four; the tests of one file stay in one process, which shares what they read, and files
# start in the order of their names: the long ones (panel, real) come first. ARGS="-n 0" runs them in one process.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: demo test environments lint bench clean help

demo: $(VENV)/.runtime ## grade a synthetic spine; results go to demo-output/
	$(VENV)/bin/vertebral-grading demo --out demo-output

test: ## run the tests (ARGS="..." goes to pytest)
	@$(MAKE) --no-print-directory --jobs=2 environments
	$(RELEASE)/bin/python -m pytest Testing/scene -q -p no:cacheprovider $(PARALLEL) $(ARGS) || [ $$? = 5 ]  # 5: none was chosen
	$(PY) -m pytest Testing $(PARALLEL) $(ARGS)

environments: $(VENV)/.system $(RELEASE)/.test # both at once
	@:

lint: $(VENV)/.test ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.test ## print speed and memory as ratios
	@set -e; found=no; for script in Testing/benchmarks/[!_]*.py; do \
	  [ -e "$$script" ] || continue; found=yes; echo "== $$script"; $(PY) "$$script"; \
	done; [ $$found = yes ] || echo "Testing/benchmarks holds no script."

clean: ## remove the environment, caches, builds and demo results
	rm -rf $(VENV) $(RELEASE) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1@\2/' | awk -F@ '{printf "%-14s %s\n", $$1, $$2}'

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates; \
	  else \
	    echo "Python's venv module is missing. On Debian or Ubuntu run:  sudo apt-get install python3-venv" >&2; exit 1; \
	  fi; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than 3.11, which constraints.txt is made for; name another:  make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[test,slicer,train]'
	@touch $(VENV)/.runtime $@

$(RELEASE)/.test: $(VENV)/.created pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(RELEASE)
	grep -Ev '^(slicer-core|vtk)==' constraints.txt >$(RELEASE)/constraints.txt
	PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BUILD_CONSTRAINT=constraints.txt $(RELEASE)/bin/python -m pip install --quiet \
	  -c $(RELEASE)/constraints.txt $(RELEASE_PINS) pytest pytest-xdist pydicom -e .
	@touch $@

$(VENV)/.system: $(VENV)/.test
	@$(PY) Testing/tools/system_libraries.py || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends $(DEBIAN) >/dev/null && $(PY) Testing/tools/system_libraries.py; \
	  else \
	    echo "On Debian or Ubuntu run:  sudo apt-get install $(DEBIAN)" >&2; exit 1; \
	  fi; }
	@touch $@
