# `make` lists what a person can do here. Everything else is in tests/cluster and pyproject.toml.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup rendered site cluster-check push demo up down demo-llm test test-modern prepared lint crds images bench bench-serve e2e chaos fuzz-graphs mutants gpu

PYTHON3 ?= python3
export PYTHONPATH := operator:.
unexport PYTHONDONTWRITEBYTECODE
# Set by `setup`, once per lock file, outside the checkout.
PYTHON = $(shell $(PYTHON3) tests/cluster/venv.py)/bin/python

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the Python dependencies under ~/.cache/slipway
	@$(PYTHON3) tests/cluster/venv.py >&2

demo: setup ## bring up a cluster, train a model in it, show its accuracy and digest
	@$(PYTHON) -m tests.cluster demo

up: setup ## bring up the cluster (KUBE_CONTEXT, else kind, else one made of Debian's packages)
	@$(PYTHON) -m tests.cluster up

cluster-check: setup
	@$(PYTHON) -m tests.cluster check

demo-llm: setup ## fine-tune a small language model, quantize it to 4 bits under a gate, serve it, and stream an answer
	@$(PYTHON) -m tests.models.language.chain

down: setup ## end everything that up, demo and test started
	@$(PYTHON) -m tests.cluster down

images: setup ## build the images and load them into the cluster (with KUBE_CONTEXT: push them to SLIPWAY_IMAGE_REGISTRY)
	@$(PYTHON) -m tests.cluster images

push: setup ## build a release's images and push them: REGISTRY=host/path, TAG=, PLATFORMS=linux/amd64,linux/arm64
	@$(if $(REGISTRY),SLIPWAY_IMAGE_REGISTRY=$(REGISTRY)) TAG=$(TAG) PLATFORMS=$(PLATFORMS) $(PYTHON) -m tests.cluster push

# More processes than cores: those that talk to servers mostly wait.
WORKERS ?= $(shell echo $$(($(shell nproc) + 2)))

# What fails is tried once more and listed as RERUN: a bug to look at, and no reason to do all again.
test: setup cluster-check ## all tests: unit, API server, end to end
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint prepared
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --reruns 1 --rerun-show-tracebacks -rR

# What each process of pytest would do for itself: with their assertions rewritten, the tests are compiled once.
prepared: setup
	@$(PYTHON) -m tests.cluster prepare
	@$(PYTHON) -m pytest --collect-only -q > /dev/null || true

test-modern: setup ## the tests with an API server on another Kubernetes: SLIPWAY_KUBERNETES=folder with its programs
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder tests/api tests/chaos

lint: setup ## ruff, mypy --strict, import rules, generated files
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
	@MYPY_CACHE_DIR=$$($(PYTHON) -c 'from tests.cluster.paths import cache; print(cache())')/mypy $(PYTHON) -m mypy
	@$$(dirname $(PYTHON))/lint-imports
	@$(PYTHON) -m slipway.api.codegen.crd --check crds/
	@$(PYTHON) -m slipway.api.codegen.docs --check docs/ && $(PYTHON) -m slipway.install.chart --check charts/slipway

crds: setup ## write crds/, docs/ and the Helm chart from the models in operator/slipway/api and from manifests/base
	@$(PYTHON) -m slipway.api.codegen.crd --write crds/ && $(PYTHON) -m slipway.api.codegen.docs --write docs/
	@$(PYTHON) -m slipway.install.chart --write charts/slipway

rendered: setup ## record the digests of what the examples are rendered to: after a change that is meant
	@$(PYTHON) -m tests.unit.rendering.examples --write

site: setup ## build the documents' site into site/, links checked
	@$(PYTHON) -m mkdocs build --strict

bench: setup ## measure the operator beside the API server's limit and batch/v1 Jobs
	@$(PYTHON) -m tests.perf.operator.bench

bench-serve: setup ## measure the server beside its engine, and beside other servers where they are installed
	@$(PYTHON) -m tests.perf.serving.serve_bench --out tests/perf/results/serve.json
	@$(PYTHON) -m tests.perf.serving.size_bench --out tests/perf/results/sizes.json

e2e: setup ## every launcher, example, installation and hard case on the cluster (slow: hours on two cores)
	@$(PYTHON) -m pytest -m "slow or not slow" tests/e2e

chaos: setup ## thousands of jobs in bad weather (SLIPWAY_CHAOS_SCHEDULES, SLIPWAY_CHAOS_SEED)
	@$(PYTHON) -m pytest -m slow -s tests/chaos/test_storm.py

fuzz-graphs: setup ## quantize 20,000 random ONNX graphs (SLIPWAY_FUZZ_GRAPHS; some hours)
	@SLIPWAY_FUZZ_GRAPHS=$${SLIPWAY_FUZZ_GRAPHS:-20000} $(PYTHON) -m pytest -q tests/unit/onnx_graphs/random/test_fuzz.py

mutants: setup ## change TensorRT's files in hundreds of small ways, and say which changes no test notices (ten minutes)
	@$(PYTHON) -m tests.mutation --out tests/perf/results/mutants.json

# With the machine's own Python, whose PyTorch knows the GPU: the tests' environment has one for CPUs.
gpu: ## on a machine with a GPU and PyTorch: what there is for GPUs, measured and compared, in eight minutes at most
	@$(PYTHON3) -m tests.gpu --out tests/perf/results/gpu.json
