# Recipes for people and for CI alike: `.ci/run` calls `make test`. `make` alone lists them.
# Every recipe sets up what it needs in .venv; only a changed lock file or pyproject.toml makes it do so again.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=
SOURCES := kafka_pipeline tests benchmarks chaos
# Marks of tests that need a real part started or a process killed: the second step of `make test`.
REAL := kafka or azurite or seaweedfs or crash
# One runner more than cores: many tests wait for something most of the time.
RUNNERS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Rarely needed, so in an environment of its own; the version decides how the lock files look.
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
CYCLONEDX_VERSION := 7.5.0

# `make demo -- --faults` is `make demo ARGS="--faults"`. An option with a value needs the second form.
PASSED := $(filter -%,$(MAKECMDGOALS))
ifneq ($(PASSED),)
ARGS += $(PASSED)
.PHONY: $(PASSED)
$(PASSED):
	@:
endif

define step
@printf '\n== %s\n' "$(1)"
endef

.PHONY: help
help: ## List the recipes
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\n%s\n' 'PYTHON=/path/to/python chooses the interpreter (3.11 or newer). ARGS="..." passes options on:' \
		'  make demo ARGS="--kafka", make demo -- --faults, make test ARGS="-k config", make bench ARGS="--json FILE".'

.PHONY: setup
setup: $(VENV)/.package ## Set up .venv with what is locked; its bin folder then has kafka-pipeline and claimx-dlq

.PHONY: demo
demo: $(VENV)/.package ## Run the whole pipeline against a simulated ClaimX and verify the lake
	@$(BIN)/python -m kafka_pipeline demo $(ARGS)

.PHONY: test
test: $(VENV)/.package lint types ## Run every check and every test this machine can run
	$(call step,pytest: quick tests)
	@$(BIN)/python -m pytest -n $(RUNNERS) --dist worksteal -m "not ($(REAL))" $(ARGS)
	$(call step,pytest: real Kafka and storage, and crashes)
	@$(BIN)/python -m pytest -n $(RUNNERS) --dist worksteal -m "$(REAL)" $(ARGS) || { code=$$?; test $$code = 5 -a -n "$(strip $(ARGS))"; }

.PHONY: lint
lint: $(VENV)/.package ## Check style, format and who imports whom
	$(call step,ruff check)
	@$(BIN)/python -m ruff check $(SOURCES)
	$(call step,ruff format --check)
	@$(BIN)/python -m ruff format --check $(SOURCES)
	$(call step,import-linter)
	@$(BIN)/lint-imports --no-logo

.PHONY: types
types: $(VENV)/.package ## Check types
	$(call step,mypy)
	@$(BIN)/python -m mypy

.PHONY: fmt
fmt: $(VENV)/.package ## Format the code and mend what can be mended without thought
	@$(BIN)/python -m ruff check --fix-only --quiet $(SOURCES)
	@$(BIN)/python -m ruff format $(SOURCES)

.PHONY: bench
bench: $(VENV)/.package ## Measure beside yardsticks, print JSON, tell what is missed or got worse: ARGS="ingest --store"
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.package ## Break everything by a seed beside real Kafka and count what is lost: ARGS="--seed 7 --runs 3"
	@$(BIN)/python -m chaos $(ARGS)

.PHONY: soak
soak: $(VENV)/.package ## Run under steady load and see that memory, handles, files and lag stay flat: ARGS="--minutes 30"
	@$(BIN)/python -m chaos.soak $(ARGS)

.PHONY: docs
docs: $(VENV)/.package ## Write anew what is generated: tables, settings, metrics, commands, results of benchmarks
	@$(BIN)/python -m kafka_pipeline.claimx.writers.docs --write
	@$(BIN)/python -m kafka_pipeline.claimx.operations
	@$(BIN)/python -m kafka_pipeline.cli.docs --write
	@$(BIN)/python -m benchmarks.report --write

.PHONY: chart
chart: $(VENV)/.package ## Render the Helm chart anew for its tests, with helm (built once by Go where it is missing)
	@$(BIN)/python -m tests.kafka_pipeline.deploy.chart

.PHONY: lock
lock: | $(BIN)/python ## Pin every dependency anew within pyproject.toml, with hashes
	@test -x .cache/uv/bin/uv || $(BIN)/python -m venv .cache/uv
	@.cache/uv/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)
	@compile() { .cache/uv/bin/uv pip compile --quiet $(LOCK) --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links "$$@"; }; \
	compile pyproject.toml --extra tracing --output-file requirements.txt; \
	compile pyproject.toml --extra tracing --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@printf '%s\n' 'requirements.txt and requirements-dev.txt are up to date; LOCK="--upgrade" looks for newer versions.'

.PHONY: audit
audit: .cache/supply/.tools ## Ask the index for known vulnerabilities of every locked package
	@.cache/supply/bin/python scripts/supply audit $(ARGS)

.PHONY: sbom
sbom: .cache/supply/.tools ## List what runs in production as CycloneDX, dist/sbom.cdx.json
	@.cache/supply/bin/python scripts/supply sbom dist/sbom.cdx.json

.PHONY: clean
clean: ## Remove everything that recipes made; of ./data the demo alone
	@rm -rf $(VENV) .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build data/demo dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf *.egg-info

# A version manager may offer a name that it cannot run, so each candidate is asked, not only looked for.
$(BIN)/python:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3.13 python3); do \
		if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			echo "Setting up $(VENV) with $$("$$python" --version)"; \
			rm -rf $(VENV); exec "$$python" -m venv $(VENV); \
		fi; \
	done; \
	echo 'No Python 3.11 or newer with venv was found$(if $(PYTHON), at $(PYTHON)): install one, or name it with make PYTHON=/path/to/python.' >&2; \
	exit 1

.cache/supply/.tools: | $(BIN)/python
	@test -x .cache/supply/bin/python || $(BIN)/python -m venv .cache/supply
	@.cache/supply/bin/python -m pip --disable-pip-version-check --quiet install \
		pip-audit==$(PIP_AUDIT_VERSION) cyclonedx-bom==$(CYCLONEDX_VERSION)
	@touch $@

$(VENV)/.deps: requirements-dev.txt | $(BIN)/python
	@echo 'Installing the locked dependencies'
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.package: pyproject.toml $(VENV)/.deps
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@
