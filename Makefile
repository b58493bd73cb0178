# Everything starts here: `make` lists what there is. Needs GNU make 3.81 and Python 3.11, nothing else.
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN ?= $(VENV)/bin
# Where it is there, and newer than what it depends on, all is installed.
STAMP ?= $(VENV)/.installed
PROTO := services/zeromq_pubsub/proto
STAND_IN := tests/support/servicebus
DOCKER := deploy/docker
UV ?= $(shell command -v uv)
PIN = "$(or $(UV),$(BIN)/uv)" pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 --universal

# A question may hold quotes, $ and backslashes: it goes to the shell through the environment, as it was typed.
export MAKE_Q := $(value Q)
export MAKE_DOCS := $(value DOCS)
export MAKE_BROKER := $(value BROKER)
export MAKE_LLM := $(value LLM)
export MAKE_ONCE := $(value ONCE)
export MAKE_BUILD := $(value OPTIONS)
unexport Q DOCS BROKER LLM ONCE OPTIONS
# In the list of what was given on the command line, make would still expand it.
MAKEOVERRIDES :=
# What Python compiles at a first import must be kept, or every start takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup runtime helm run ask agents doctor down test lint format unit e2e e2e-k8s conformance fuzz promises bench images lock proto pages clean

##@ Use it
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: $(STAMP) ## start everything, answer a first question, serve until Ctrl-C (Q= DOCS= BROKER= LLM= ONCE=1)
	@exec $(BIN)/dovecote up $${MAKE_BROKER:+--broker="$$MAKE_BROKER"} $${MAKE_LLM:+--llm="$$MAKE_LLM"} \
	  $${MAKE_DOCS:+--docs="$$MAKE_DOCS"} $${MAKE_Q:+--question="$$MAKE_Q"} $${MAKE_ONCE:+--once}

ask: $(STAMP) ## ask the running system (Q="…" DOCS=folder)
	@exec $(BIN)/dovecote ask $${MAKE_DOCS:+--docs="$$MAKE_DOCS"} -- "$$MAKE_Q"

agents: $(STAMP) ## who runs now
	@exec $(BIN)/dovecote agents

doctor: $(STAMP) ## what is wrong with this checkout or its running system, and the mend
	@exec $(BIN)/dovecote doctor

down: $(STAMP) ## end the system that runs here
	@exec $(BIN)/python -m deploy.local down

##@ Work on it
setup: $(STAMP) ## install the locked dependencies into .venv (the others do it by themselves)

runtime: $(STAMP) ## find Dapr, or download or build it (once)
	@$(BIN)/python -m deploy.local.runtime

helm: $(STAMP) ## find Helm and Dapr's chart, or get them (once)
	@$(BIN)/python -m deploy.local.helm && $(BIN)/python -m deploy.local.dapr_chart

test: lint runtime helm ## lint, format, types and all tests
	@$(BIN)/pytest

lint: $(STAMP) ## lint, format and types, nothing changed
	@echo "Linting" && $(BIN)/ruff check --quiet .
	@echo "Checking the format" && $(BIN)/ruff format --quiet --check .
	@echo "Checking types" && $(BIN)/mypy

format: $(STAMP) ## mend lint and format where that is safe
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

unit: $(STAMP) ## the tests of single parts, which start nothing: a minute and a half
	@$(BIN)/pytest tests/unit

e2e: runtime ## the tests on a real system
	@$(BIN)/pytest tests/e2e

e2e-k8s: $(STAMP) ## the chart on a real cluster, under load (KUBECONFIG, else kind makes one; REGISTRY= TAG= for the images)
	@$(BIN)/pytest tests/k8s --log-cli-level=INFO

conformance: runtime ## one behaviour over every broker, as a table (BROKER= for one)
	@$(BIN)/pytest tests/conformance $${MAKE_BROKER:+--broker="$$MAKE_BROKER"}

fuzz: $(STAMP) ## send an app 100,000 malformed events
	@$(BIN)/pytest tests/unit/test_malformed_deliveries.py --malformed-events=100000

promises: $(STAMP) ## what is promised, by which tests it is shown, and how they ended last
	@$(BIN)/python -m tests.support.promises

bench: runtime ## measure against bare Dapr
	@$(BIN)/python -m bench $${MAKE_BROKER:+--broker="$$MAKE_BROKER"}

images: $(STAMP) ## build every service's image (SERVICE= REGISTRY= TAG= BASE_IMAGE= SAVE=file.tar OPTIONS=)
	@$(BIN)/python -m deploy.docker $(SERVICE) $(if $(REGISTRY),--registry="$(REGISTRY)") $(if $(TAG),--tag="$(TAG)") \
	  $(if $(BASE_IMAGE),--base-image="$(BASE_IMAGE)") $(if $(SAVE),--save="$(SAVE)") --options="$$MAKE_BUILD"

lock: $(STAMP) ## pin every dependency again, with hashes
	@$(PIN) --upgrade --extra dev pyproject.toml -o requirements.lock
	@for part in build requirements; do \
	  $(PIN) --upgrade $(STAND_IN)/$$part.in -o $(STAND_IN)/$$part.lock || exit; \
	done
	@$(PIN) --constraint requirements.lock pyproject.toml -o $(DOCKER)/locks/library.lock
	@shared=`sed -n 's/^\([a-z0-9-]*\)\(\[.*\)*==.*/--no-emit-package=\1/p' $(DOCKER)/locks/library.lock`; \
	for extra in calculator knowledge demo-model zeromq:zeromq-pubsub; do \
	  $(PIN) --constraint requirements.lock $$shared --extra "$${extra%:*}" pyproject.toml \
	    -o "$(DOCKER)/locks/$${extra##*:}.lock" || exit; \
	done
	@$(PIN) --upgrade $(DOCKER)/sbom.in -o $(DOCKER)/sbom.lock

proto: $(STAMP) ## generate the code of the ZeroMQ component's protocol again
	@"$(or $(UV),$(BIN)/uv)" tool run --from "grpcio-tools==$$($(BIN)/python -c 'import grpc; print(grpc.__version__)')" \
	  python-grpc-tools-protoc -I . --python_out=. --pyi_out=. $(PROTO)/common.proto $(PROTO)/pubsub.proto

pages: $(STAMP) helm ## write again what is generated: .env.example, tables in components/README.md, tests/charts/golden
	@$(BIN)/python -m dovecote.cli.pages && $(BIN)/python -m tests.conformance.table && $(BIN)/python -m tests.charts.golden_texts

clean: ## remove what was made here: .venv, caches, and the data of the local system
	@if [ -e $(STAMP) ]; then $(BIN)/python -m deploy.local down; fi
	rm -rf $(VENV) .dovecote .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- installing ------------------------------------------------------------------------------------------------
# What was cut off half-way leaves .incomplete, and is started over. uv is fast and is tried first; pip does the same.
# The environment gets a pip of its own only where Python comes without one: that takes five seconds.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or later is needed, and $(PYTHON) is: `$(PYTHON) --version 2>&1`" >&2; \
	  echo "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@if [ -e $(VENV)/.incomplete ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  echo "Making $(VENV)"; \
	  rm -rf $(VENV) && mkdir -p $(VENV) && touch $(VENV)/.incomplete && \
	  $(PYTHON) -m venv --without-pip $(VENV); fi
	@touch $(VENV)/.incomplete
	@set -e; \
	uv="$(UV)"; \
	if [ -z "$$uv" ] && [ -x $(BIN)/uv ]; then uv=$(BIN)/uv; fi; \
	if [ -z "$$uv" ]; then \
	  pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	  $$pip --version >/dev/null 2>&1 || { $(BIN)/python -m ensurepip >/dev/null || { \
	    echo "$(PYTHON) has neither pip nor ensurepip; on Debian: apt install python3-venv" >&2; exit 1; }; \
	    pip="$(BIN)/python -m pip"; }; \
	  echo "Getting uv, the fast installer"; \
	  if $$pip install --quiet uv; then uv=$(BIN)/uv; else echo "uv cannot be had; pip takes longer"; fi; \
	fi; \
	echo "Installing the locked dependencies into $(VENV) (the first time they are downloaded)"; \
	if [ -n "$$uv" ]; then \
	  "$$uv" pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock; \
	  "$$uv" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .; \
	else \
	  $$pip install --quiet --require-hashes --requirement requirements.lock; \
	  $$pip install --quiet --no-deps --no-build-isolation --editable .; \
	fi
	@rm -f $(VENV)/.incomplete && touch $(STAMP)
