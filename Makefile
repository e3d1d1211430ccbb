# What a person runs. Each target does its own set-up; nothing else needs to be installed before.
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
SIZE ?= small
OUT ?= out

CONTEXT ?=
DATA ?= ../shared/data
# Of the tests, a file at a time; each needs about 2 GB. One thread of torch each: more would spin against each other.
TEST_PROCESSES ?= 2

.PHONY: demo test test-benchmarks test-containers test-cluster kind-up kind-demo kind-down lint pictures bench throughput benchmark quality clean

demo: .venv/ready            ## run training on a real shop, serve it, ask it, write out/report.html
	$(BIN)/shoprank demo --size $(SIZE) --out $(OUT)

test: .venv/ready            ## style, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/shoprank compile --check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-benchmarks: .venv/ready ## the tests of tests/benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests/benchmarks

test-containers: .venv/ready ## build the images and run the tiny pipeline in them (as root on Debian, or with DOCKER_HOST)
	test -n "$$DOCKER_HOST" || { command -v dockerd && command -v mmdebstrap; } >/dev/null || \
	  { apt-get update -qq && apt-get install -qq -y --no-install-recommends docker.io mmdebstrap; } || true
	$(BIN)/python -m pytest tests/containers -m containers

test-cluster: .venv/ready    ## the same checks against a cluster: make test-cluster CONTEXT=kind-shoprank
	$(BIN)/python -m pytest tests/cluster --kube-context "$(CONTEXT)"

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

pictures: .venv/ready        ## draw the pictures of the README (needs chromium for the report's)
	$(BIN)/python -m tests.pictures.drawing

bench: .venv/ready           ## speed and memory beside plain baselines, written to tests/benchmarks/*/results
	$(BIN)/python -m tests.benchmarks.speed.bench
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

# torch first and with its dependencies (whichever build this machine gets), the rest exactly as locked.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check torch==2.13.0 setuptools==84.2.1
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
