PYTHON ?= python3
VENV := build/runtime/venv/bin
export PYTHONPATH := jobs:audit:operator:hack
export HYPOTHESIS_STORAGE_DIRECTORY := build/hypothesis

# More arguments for `make run`, such as RUN_ARGS="--json".
RUN_ARGS ?=
# More arguments for pytest, such as PYTEST_ARGS="-k windows -x".
PYTEST_ARGS ?=
# More arguments for `make demo`, such as DEMO_ARGS="--hold 30".
DEMO_ARGS ?=
# More arguments for `make faults` and `make soak`, such as FAULTS_ARGS="--only flink-killed".
FAULTS_ARGS ?=
# More arguments for `make model` and `make simulate`, such as SIMULATE_ARGS="--first 3000".
MODEL_ARGS ?=
SIMULATE_ARGS ?=
# More arguments for `make mutants`, such as MUTANTS_ARGS="--only part-window-in-dask".
MUTANTS_ARGS ?=
# A recording for `make demo` to replay.
DATA ?=
# `make lock UPGRADE=1` takes the newest versions that fit.
UPGRADE ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint demo cluster cluster-down e2e faults soak mutants model simulate bench lock clean clean-cache

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## two minutes of the nurse sample on this machine: Flink is killed, Dask takes over, an audit
	$(PYTHON) hack/bootstrap.py
	$(VENV)/python -m streampipeline.cli run samples/nurse-stress.yaml --sink parquet --duration 120 \
		--fault kill-flink@30s+60s --report build/run.json $(RUN_ARGS)

test: ## unit, property and integration tests: real processes, a real API server, no cluster
	$(PYTHON) hack/bootstrap.py --with dev --with influxd --with kubernetes --with helm
	mvn -B -ntp -Dstyle.color=never -f flink-decoder/pom.xml test
	$(VENV)/python -m pytest $(PYTEST_ARGS) tests/unit tests/property tests/model tests/integration

lint: ## style, types and the direction of imports
	$(PYTHON) hack/bootstrap.py --with dev
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	$(VENV)/lint-imports --cache-dir build/import-linter
	$(VENV)/python hack/chart.py copy --check

demo: ## the same on a real kind cluster, from nothing; DATA=recording replays one
	$(PYTHON) hack/bootstrap.py --with kubernetes --with helm
	$(VENV)/python hack/demo.py $(if $(DATA),--data $(DATA)) $(DEMO_ARGS)

cluster: ## a kind cluster of one node, from packages where no image can be pulled
	$(PYTHON) hack/cluster.py up

cluster-down: ## remove it
	$(PYTHON) hack/cluster.py down

e2e: ## end-to-end tests on a real kind cluster, which they make if it is missing
	$(PYTHON) hack/bootstrap.py --with dev --with kubernetes --with helm
	$(VENV)/python -m testbed.assemble
	$(VENV)/python -m pytest --timeout=900 $(PYTEST_ARGS) tests/e2e

faults: ## half an hour: every fault on one stack of real processes, then the audit
	$(PYTHON) hack/bootstrap.py --with dev --with influxd
	$(VENV)/python -m faults $(FAULTS_ARGS)
	$(VENV)/python -m faults --only retention-passed drill --workdir build/faults-retention \
		--report build/faults-retention.json

soak: ## two hours: the faults again and again
	$(PYTHON) hack/bootstrap.py --with dev --with influxd
	$(VENV)/python -m faults --again --seconds 6900 --workdir build/soak --report build/soak.json $(FAULTS_ARGS)
	$(VENV)/python -m faults --only retention-passed drill --workdir build/soak-retention \
		--report build/soak-retention.json

mutants: ## break each rule of the design in a copy; the tests have to notice
	$(PYTHON) hack/bootstrap.py --with dev
	$(VENV)/python -m mutants $(MUTANTS_ARGS)

model: ## search more of the worlds that decisions can be in than the tests do
	$(PYTHON) hack/bootstrap.py --with dev
	PYTHONPATH=.:$(PYTHONPATH) $(VENV)/python -m tests.model.search --at-rest --epochs 2 --faults 1
	PYTHONPATH=.:$(PYTHONPATH) $(VENV)/python -m tests.model.search --at-rest --epochs 1 --faults 2 --edits 1 \
		--stales 1 $(MODEL_ARGS)

simulate: ## 3,000 random schedules of faults in virtual time, each audited
	$(PYTHON) hack/bootstrap.py --with dev
	PYTHONPATH=.:$(PYTHONPATH) $(VENV)/python -m tests.simulator --schedules 3000 $(SIMULATE_ARGS)

bench: ## measure the engines beside their bare limits
	$(PYTHON) hack/bootstrap.py --with dev --with influxd
	$(VENV)/python -m bench

lock: ## write the locks anew (requirements/*.txt, hack/*/jars.sha256)
	$(PYTHON) hack/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove build/; the cache of installed pieces stays
	rm -rf build

clean-cache: clean ## remove the cache of installed pieces too, the clusters and their Docker daemon
	$(PYTHON) hack/cluster.py down --engine
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/streampipeline"
