# Everything runs in .venv, which is made here when it is missing, and again when what it holds is to change.
# Needs make and Python 3.11 or newer. `make test ARGS="-k retry"` hands arguments on.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# The newest Python that the project is tested on, else any that is new enough and can make an environment.
FITS := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c '$(FITS)' >/dev/null 2>&1; then echo $$p; break; fi; done)

demo: $(VENV)/.has-demo  ## show the main job, on embedded defaults or on what WELLWIRED__... names
	@$(BIN)/wellwired demo $(ARGS)

test: $(VENV)/.has-dev  ## run the tests, on the real servers that can be had
	@$(BIN)/python -m pytest $(ARGS)

# An environment of its own, in which what `dev` brought is taken back to the oldest versions.
oldest: .venv-oldest/.has-oldest  ## run the integrations' tests on the oldest Django and Flask
	@.venv-oldest/bin/python -m pytest tests/integrations $(ARGS)

.venv-oldest/.has-oldest: oldest.txt pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory VENV=.venv-oldest .venv-oldest/.has-dev
	@.venv-oldest/bin/python -m pip install -qq --disable-pip-version-check --no-input -r oldest.txt
	@touch $@

lint: $(VENV)/.has-lint  ## check style, formatting, and that imports run downwards only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(VENV)/.has-lint  ## check types twice: mypy, pyright
	@$(BIN)/mypy
	@$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.has-docs  ## run the code in the README and the documentation, and build the site
	@$(BIN)/python -m pytest tests/test_docs.py tests/test_site.py tests/test_reference.py tests/test_compared.py $(ARGS)
	@$(MAKE) --no-print-directory site

# Not --quiet: it hides warnings from --strict. The variable turns off a notice that the theme will end in May 2027.
site: $(VENV)/.has-docs  ## build the documentation's site, strictly, into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is in site/index.html"

coverage: $(VENV)/.has-dev  ## run the tests and say which lines and branches they miss
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(VENV)/.has-bench  ## measure, beside the floors and the alternatives
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.has-dev  ## run the tests that take minutes
	@$(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

clean:  ## remove .venv and everything that was built or cached
	@rm -rf $(VENV) .venv-* build dist site htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks \
		.import_linter_cache .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@echo "make targets:"
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  \1	\2/p' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "This needs Python 3.11 or newer with its venv module (on Debian: apt-get install python3-venv)." >&2; \
		echo "If it is there under another name: make PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

# One stamp for each extra: a demo need not wait for what only a developer uses.
$(VENV)/.has-%: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing wellwired[$*] into $(VENV)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e '.[$*]'
	@touch $@

.PRECIOUS: $(BIN)/python $(VENV)/.has-%
.PHONY: demo test oldest lint types docs site coverage bench soak clean help
