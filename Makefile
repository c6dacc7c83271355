# VertebralGrading: what a developer types. `make help` lists it.
#
# Every target builds its own environment in .venv, from nothing, with the versions of constraints.txt, and again
# whenever pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# pip builds the package in an environment of its own, which is held to the same versions by these variables.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip
# Further arguments for pytest, for example: make test ARGS="-k morphometry -x"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: demo test lint bench clean help

demo: $(VENV)/.runtime ## grade a synthetic spine; results go to demo-output/
	$(VENV)/bin/vertebral-grading demo --out demo-output

test: $(VENV)/.test ## run the tests (ARGS="..." goes to pytest)
	$(PY) -m pytest Testing $(ARGS)

lint: $(VENV)/.test ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(VENV)/.test ## print speed and memory as ratios
	@set -e; found=no; for script in Testing/benchmarks/[!_]*.py; do \
	  [ -e "$$script" ] || continue; found=yes; echo "== $$script"; $(PY) "$$script"; \
	done; [ $$found = yes ] || echo "Testing/benchmarks holds no script."

clean: ## remove the environment, caches, builds and demo results
	rm -rf $(VENV) build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
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
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $(VENV)/.runtime $@
