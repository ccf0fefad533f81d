# Everything a person does with a checkout; `make` alone explains it.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name))) python3)
KAFKA_PORT ?= 9092
FUZZ_SECONDS ?= 600
FUZZ ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALL_LOG := $(VENV)/install.log
KAFKA := build/kafka
# By its name too: after a restart of the machine the number may be another program's.
KAFKA_RUNS := [ -f $(KAFKA)/pid ] && grep -qs duri "/proc/$$(cat $(KAFKA)/pid)/cmdline"
KAFKA_SAYS := sed 's/^bootstrap: /export DURI_BOOTSTRAP=/' $(KAFKA)/address

.DEFAULT_GOAL := help
.PHONY: help setup demo tutorial test lint lab conformance fuzz bench bench-million proto kafka-up kafka-down clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=python3.11 or later, KAFKA_PORT=9092, PYTEST='-k words', FUZZ_SECONDS=600, MINUTES=10"

setup: $(INSTALLED)  ## Make .venv and install everything into it (again only when versions change)

$(INSTALLED): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' is not Python 3.11 or later; install python3.11, or name one: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' has no venv module; on Debian and Ubuntu: apt-get install python3-venv (or python3.11-venv)" >&2; exit 1; }
	@echo "installing into $(VENV): one to five minutes, by the network and the machine"
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]' \
	  >$(INSTALL_LOG) 2>&1 & pip=$$!; \
	trap 'kill $$pip 2>/dev/null; exit 130' INT TERM; \
	while kill -0 $$pip 2>/dev/null; do \
	  found=$$(grep -c '^Collecting' $(INSTALL_LOG)); \
	  step=$$(grep -q '^Installing collected' $(INSTALL_LOG) && echo installing || echo downloading); \
	  [ ! -t 1 ] || printf '\r  %s, %s packages so far ' "$$step" "$$found"; \
	  sleep 1; \
	done; \
	[ ! -t 1 ] || echo; \
	wait $$pip || { tail -n 20 $(INSTALL_LOG) >&2; echo "make: that failed; all of it is in $(INSTALL_LOG)" >&2; exit 1; }
	@touch $@

demo: setup  ## See it work: a broker, a system in trouble, recommendations (a minute)
	@$(BIN)/duri demo

tutorial: setup  ## Export, train, shadow, promote and revert on nine generated days (a few minutes)
	@$(BIN)/python -m benchmarks.tutorial

test: setup  ## Run all tests, on a real Apache Kafka
	@$(BIN)/python -m pytest $(PYTEST)

LAB ?=
lab: setup  ## Break a real system on purpose and see what is advised (two minutes a fault; LAB='slow-deploy healthy')
	@$(BIN)/duri lab prove $(LAB)

lint: setup  ## Check style, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup  ## Throw bytes at every decoder, 10 minutes each (FUZZ_SECONDS=60, FUZZ='influx vector')
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

conformance: setup  ## Build real producers (needs Go) and check that all they send arrives (CONFORMANCE_S=60 each)
	$(BIN)/python -m pytest conformance -o timeout=1200 $(PYTEST)  # the first time the programs are built

# A million series take a quarter of an hour: by itself.
BENCHMARKS := $(filter-out %/bench_million.py,$(sort $(wildcard benchmarks/bench_*.py)))

bench: setup  ## Measure; each benchmark prints one line of JSON
	@for benchmark in $(subst /,.,$(basename $(BENCHMARKS))); do $(BIN)/python -m "$$benchmark" || exit 1; done

MINUTES ?= 10
bench-million: setup  ## Measure a million live series on one worker, for MINUTES=10
	@$(BIN)/python -m benchmarks.bench_million --minutes $(MINUTES)

proto: setup  ## Generate the protobuf modules again after a change of a .proto file
	cd pipeline/ingest/protobuf && $(CURDIR)/$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. *.proto

kafka-up: setup  ## Start a Kafka in the background and print the line that leads duri to it
	@mkdir -p $(KAFKA)
	@if $(KAFKA_RUNS); then $(KAFKA_SAYS); exit 0; fi; \
	echo "starting Kafka; its very first start fetches it ($(KAFKA)/log tells how far)" >&2; \
	rm -f $(KAFKA)/address; \
	nohup $(BIN)/duri broker --port $(KAFKA_PORT) >$(KAFKA)/address 2>$(KAFKA)/log </dev/null & \
	pid=$$!; echo $$pid >$(KAFKA)/pid; \
	while kill -0 $$pid 2>/dev/null && ! [ -s $(KAFKA)/address ]; do sleep 0.2; done; \
	if [ -s $(KAFKA)/address ]; then $(KAFKA_SAYS); else rm -f $(KAFKA)/pid; cat $(KAFKA)/log >&2; exit 1; fi

kafka-down:  ## Stop that Kafka; its data goes with it
	@if $(KAFKA_RUNS); then \
	  pid=$$(cat $(KAFKA)/pid); kill $$pid; while kill -0 $$pid 2>/dev/null; do sleep 0.2; done; \
	else echo "no Kafka of make kafka-up runs"; fi
	@rm -f $(KAFKA)/pid $(KAFKA)/address

clean: kafka-down  ## Remove everything that make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find models pipeline tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
