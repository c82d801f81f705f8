# Every target sets up .venv by itself; a second run installs nothing.
# VENV=other-folder, PYTHON=python3.12, CONFIG=my.toml and PYTEST_ARGS="-k spool" may be given.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve demo test check-lint check-format check-types check-imports check-tests clean

VENV ?= .venv
PYTHON ?=
CONFIG ?=
PYTEST_ARGS ?=
BIN := $(VENV)/bin

# The two wheels of the ONNX runtime own the same package, so exactly one is installed.
RUNTIME := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
OTHER_WHEEL := $(if $(filter gpu,$(RUNTIME)),onnxruntime,onnxruntime-gpu)

SERVE_READY := $(VENV)/.ready-serve-$(RUNTIME)
TEST_READY := $(VENV)/.ready-test-$(RUNTIME)

help:
	@echo "make serve   receive radiographs on 127.0.0.1:11112 and return companions"
	@echo "make demo    the whole way on this machine, with a simulated radiograph"
	@echo "make test    ruff, mypy, import contracts and all tests"
	@echo "make clean   remove .venv and what was built"

serve: $(SERVE_READY)
	@exec $(BIN)/pacs-node serve $(if $(CONFIG),--config $(CONFIG))

demo: $(SERVE_READY)
	@$(BIN)/pacs-node demo

# Every check runs, so that one run shows all that is wrong.
test: $(TEST_READY)
	@failed=""; \
	for check in lint format types imports tests; do \
		echo "== $$check"; \
		$(MAKE) --no-print-directory check-$$check || failed="$$failed $$check"; \
	done; \
	if [ -n "$$failed" ]; then echo "make test: FAILED:$$failed"; exit 1; fi; \
	echo "make test: all passed"

check-lint: $(TEST_READY)
	@$(BIN)/ruff check .

check-format: $(TEST_READY)
	@$(BIN)/ruff format --check .

check-types: $(TEST_READY)
	@$(BIN)/mypy

check-imports: $(TEST_READY)
	@$(BIN)/lint-imports

check-tests: $(TEST_READY)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# What is installed depends on pyproject.toml only: the project itself is installed as a link to this folder.
$(SERVE_READY): pyproject.toml
	@$(call set_up,$(RUNTIME))
	@touch $@

$(TEST_READY): pyproject.toml
	@$(call set_up,$(RUNTIME)$(comma)training$(comma)dev)
	@touch $@ $(SERVE_READY)

comma := ,

define set_up
if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	python="$(PYTHON)"; \
	for candidate in python3 python3.13 python3.12 python3.11; do \
		[ -n "$$python" ] && break; \
		if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
			then python=$$candidate; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "pacs-node needs Python 3.11, 3.12 or 3.13; found: $$(python3 --version 2>&1 || true)." >&2; \
		echo "Debian 12 and Ubuntu 24.04 have one: sudo apt-get install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		version="$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"; \
		echo "$$python cannot make a virtual environment: sudo apt-get install python$$version-venv" >&2; exit 1; fi; \
	echo "making $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV); \
fi; \
if $(BIN)/python -m pip show --quiet $(OTHER_WHEEL) 2>/dev/null; then \
	$(BIN)/python -m pip uninstall --quiet --yes $(OTHER_WHEEL); \
fi; \
echo "installing pacs-node[$(1)] into $(VENV)"; \
$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
endef
