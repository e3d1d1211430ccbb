# What a person runs. Each target does its own set-up; nothing else needs to be installed before.
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
SIZE ?= small
OUT ?= out
# Another package index for torch alone: its default build brings CUDA (6.4 GB), a CPU build takes about 1 GB.
TORCH_INDEX ?=

CONTEXT ?=
DATA ?= ../shared/data
# Of `make fuzz` and `make fuzz-server`.
CASES ?= 20000
# Of the tests, a file at a time; each needs about 2 GB. One thread of torch each: more would spin against each other.
TEST_PROCESSES ?= 2

.PHONY: demo test test-containers test-cluster kind-up kind-demo kind-down lint pictures fuzz fuzz-server bench throughput benchmark quality test-benchmarks clean

demo: .venv/ready            ## run training on a real shop, serve it, ask it, write out/report.html
	$(BIN)/shoprank demo --size $(SIZE) --out $(OUT)

test: .venv/ready            ## style, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/shoprank compile --check
	$(BIN)/python -m tests.cluster.platform build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-benchmarks: .venv/ready ## the tests of tests/benchmarks, which `make test` leaves out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/benchmarks -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-containers: .venv/ready ## build the images and run the tiny pipeline in them (as root on Debian, or with DOCKER_HOST)
	test -n "$$DOCKER_HOST" || { command -v dockerd && command -v mmdebstrap; } >/dev/null || \
	  { apt-get update -qq && apt-get install -qq -y --no-install-recommends docker.io mmdebstrap; } || true
	$(BIN)/python -m pytest tests/containers -m containers

test-cluster: .venv/ready    ## the tests on Kubernetes alone; some of them on another cluster: CONTEXT=kind-shoprank
	$(BIN)/python -m tests.cluster.platform build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster --kube-context "$(CONTEXT)"

kind-up: .venv/ready         ## a local cluster with KFP, KServe, Trainer, our images and manifests (needs docker, kind, kubectl)
	$(BIN)/shoprank kind up

kind-demo: .venv/ready       ## train, deploy, roll a second model out under load, ask the endpoint
	$(BIN)/shoprank kind demo

kind-down: .venv/ready       ## remove the local cluster
	$(BIN)/shoprank kind down

lint: .venv/ready            ## style and types only
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/basedpyright

pictures: .venv/ready        ## draw the pictures of the READMEs (needs chromium for the report's; JOURNEY=FILE of tests/cluster/timeline.py)
	$(BIN)/python -m tests.pictures.drawing
	$(if $(JOURNEY),$(BIN)/python -m tests.pictures.journey $(JOURNEY))

fuzz: .venv/ready            ## damaged files as a shop's data: each is refused or read without losing a row (half an hour)
	$(BIN)/python -m components.ingest_events.tests.fuzzing --cases $(CASES)

fuzz-server: .venv/ready     ## hostile inputs for the predictor: no server error, crash or hang (half an hour)
	$(BIN)/python -m serving.tests.fuzzing --cases $(CASES)

bench: .venv/ready           ## speed and memory beside plain baselines, written to tests/benchmarks/*/results
	$(BIN)/python -m tests.benchmarks.speed.bench
	$(BIN)/python -m tests.benchmarks.speed.ingestion
	$(BIN)/python -m tests.benchmarks.speed.compression --models out/bench
	$(BIN)/python -m tests.benchmarks.rollouts.load --bundle out/bench/bundle
	$(BIN)/python -m tests.benchmarks.rollouts.simulation --out $(OUT)/rollouts

throughput: .venv/ready      ## training beside plain torch and, with PEERS=PYTHON, deepctr-torch and RecBole (about an hour)
	$(BIN)/python -m tests.benchmarks.throughput --rows 1000000 10000000 $(if $(PEERS),--peers-python $(PEERS))

quality: .venv/ready         ## three seeds on all transactions, written to tests/benchmarks/quality/results: make quality DATA=../shared/data
	$(BIN)/python -m tests.benchmarks.quality --out $(OUT)/quality $(if $(DATA),--data $(DATA))

benchmark: .venv/ready       ## three public layouts beside published numbers: make benchmark DATA=../shared/data
	for data in $(DATA)/amazon_beauty $(DATA)/diginetica_srgnn $(DATA)/gowalla_lightgcn; do \
	  OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.published --data $$data || exit 1; done

clean:                       ## remove the environment and all output
	rm -rf .venv $(OUT)

# The set-up: a file for each finished step, so that an interrupted one goes on where it stopped. torch comes first and
# with its dependencies (whichever build this machine gets, or that of TORCH_INDEX), the rest exactly as locked.
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
# GB that the environment takes while it is made, and those of what pip downloads for it (measured: 7.6 and 2.8).
SPACE := $(if $(TORCH_INDEX),3 1,8 3)
# An environment that was left half-made, or whose Python is gone.
BROKEN := $(shell [ ! -e .venv ] || $(BIN)/python -c "import pip" 2>/dev/null || echo broken)
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.venv/.made: $(if $(BROKEN),remove-broken)
	@$(PYTHON) -c "$(SUPPORTED)" || { echo "error: $$($(PYTHON) --version 2>&1) is not 3.11, 3.12 or 3.13" >&2; \
	  echo "  fix: name one of these: make TARGET PYTHON=python3.12" >&2; exit 1; }
	@.ci/free_space .venv $(SPACE)
	[ -e .venv ] || $(PYTHON) -m venv .venv
	$(PIP) setuptools==84.2.1
	touch $@

.venv/.torch: .venv/.made
	@.ci/free_space .venv $(SPACE)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	touch $@

.venv/.locked: .venv/.torch requirements.lock
	$(PIP) --no-deps -r requirements.lock
	touch $@

.venv/ready: .venv/.locked pyproject.toml
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

.PHONY: remove-broken
remove-broken:
	@echo ".venv is not whole: made anew"
	rm -rf .venv
