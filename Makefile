# `make demo` and `make test` need Python >= 3.11 and nothing else: both make their own environment.
# Another interpreter: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
RUN := $(VENV)/bin
# Two cores have work for three: a test waits for its disk or its children a third of the time.
TEST := -m pytest -q -n 3 --dist loadfile
PLUGINS := $(wildcard plugins/*/pyproject.toml)
# Each process of a recorded program would compile custody anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-genai3 test-litellm test-oldest conformance features software lint types floors cassettes \
	prices s3 azure faults faults-short faults-page bench bench-short lock clean

help:          ## what there is
	@grep -E '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(VENV)/.ready          ## the main job, against the embedded simulator
	@$(RUN)/custody demo

test: $(VENV)/.ready          ## all tests
	$(RUN)/python $(TEST)

# The SDKs do not all install together: three environments, one lock (pyproject.toml). The other environments run
# what asks an SDK; what only reads, or asks another library, is the same in the first.
READERS := $(wildcard plugins/*/tests/test_reading.py plugins/*/tests/test_claims.py \
	$(patsubst %,plugins/custody-%/tests/test_*wire.py,anthropic bedrock cohere google mistral openai))
ASKING := $(addprefix --ignore=,$(READERS))
FLOWS := $(patsubst %,tests/flow/test_%.py,combinations durable_before_delivered offline_replay processes_features \
	realtime replicates strict_failures)

test-genai3: $(VENV)-genai3/.ready          ## the tests of google-genai 3
	$(VENV)-genai3/bin/python $(TEST) $(ASKING) plugins/custody-google tests/conformance/test_conformance.py

test-litellm: $(VENV)-litellm/.ready          ## the tests of litellm, above openai 2, and of s3fs beside it
	$(VENV)-litellm/bin/python $(TEST) $(ASKING) plugins/custody-litellm plugins/custody-openai/tests/test_flow.py \
		plugins/custody-fsspec/tests/test_contract.py::TestS3fs tests/conformance/test_conformance.py

test-oldest: $(VENV)-oldest/.ready          ## the plugins' tests with the oldest SDKs that they know
	$(VENV)-oldest/bin/python $(TEST) $(ASKING) --ignore=plugins/custody-fsspec $(FLOWS) tests/seam/test_botocore.py plugins

# Without the recordings in ../shared/wire each run says so, and nothing is tried.
conformance: $(VENV)/.ready $(VENV)-genai3/.ready $(VENV)-litellm/.ready          ## real vendor traffic through real SDKs
	@rm -rf .conformance && mkdir .conformance
	$(RUN)/python tests/conformance/run.py --name default --out .conformance/default.json
	$(VENV)-genai3/bin/python tests/conformance/run.py --name google-genai-3 --out .conformance/google-genai-3.json
	$(VENV)-litellm/bin/python tests/conformance/run.py --name litellm --out .conformance/litellm.json
	$(RUN)/python tests/conformance/table.py .conformance

# Two environments: some of it wants older SDKs, some newer ones.
software: $(VENV)-software/.ready $(VENV)-inspect/.ready          ## popular software on top of the SDKs, unchanged
	$(VENV)-software/bin/python -m pytest -q tests/software
	$(VENV)-inspect/bin/python -m pytest -q tests/software

features: $(VENV)/.ready $(VENV)-genai3/.ready $(VENV)-litellm/.ready $(VENV)-oldest/.ready          ## docs/features.md, from what the tests say
	$(RUN)/python -m tests.features.matrix run default
	$(VENV)-genai3/bin/python -m tests.features.matrix run genai3
	$(VENV)-litellm/bin/python -m tests.features.matrix run litellm
	$(VENV)-oldest/bin/python -m tests.features.matrix run oldest
	$(RUN)/python -m tests.features.matrix page

lint: $(VENV)/.ready          ## ruff
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(VENV)/.ready          ## mypy, strict
	$(RUN)/mypy src $(wildcard plugins/*/src)

floors: $(VENV)/.ready          ## imports only run downwards
	$(RUN)/lint-imports

# Debian: radosgw ceph-mon ceph-osd ceph-common; says what it could not try.
s3: $(VENV)/.ready $(VENV)-litellm/.ready          ## storage on a real S3 server on loopback, with both clients
	CUSTODY_TEST_RGW=1 $(RUN)/python -m pytest -q plugins/custody-fsspec/tests
	CUSTODY_TEST_RGW=1 $(VENV)-litellm/bin/python -m pytest -q plugins/custody-fsspec/tests/test_rgw.py \
		plugins/custody-fsspec/tests/test_contract.py::TestS3fs

azure: $(VENV)/.ready          ## storage on Azure's own emulator on loopback; needs npm
	npm install --no-save --no-fund --no-audit --prefix .azurite azurite@3
	CUSTODY_TEST_AZURITE=$(CURDIR)/.azurite/node_modules/.bin/azurite-blob \
		$(RUN)/python -m pytest -q plugins/custody-fsspec/tests/test_azure.py

prices: $(VENV)/.ready          ## what calls cost, against a table derived by hand
	$(RUN)/python -m pytest -q tests/cost

# A few hours. Needs root, strace, xfsprogs and faketime (Debian's names), and says what it could not try.
faults: $(VENV)/.ready          ## break everything on purpose: the campaign of docs/durability.md
	CUSTODY_FAULTS=long CUSTODY_FAULTS_OUT=.faults.jsonl $(RUN)/python $(TEST) --dist worksteal tests/faults \
		tests/flow/test_processes_features.py tests/features/test_processes.py

faults-short: $(VENV)/.ready          ## the same in a minute or two, as the suite has it
	$(RUN)/python $(TEST) tests/faults

faults-page: $(VENV)/.ready          ## the results of the last campaign, into docs/durability.md
	$(RUN)/python tests/faults/page.py .faults.jsonl docs/durability.md

# benchmarks/results.md is committed from a quiet machine; ARGS="--calls 10000,100000,1000000" for the large one.
bench: $(VENV)/.ready $(VENV)-bench/.ready $(VENV)-bench-litellm/.ready          ## what custody and other recorders cost; writes benchmarks/results.md
	$(RUN)/python -m benchmarks $(ARGS)

bench-short: $(VENV)/.ready          ## tries the harness of make bench
	$(RUN)/python -m benchmarks --short --out $(or $(OUT),.bench/short.md)

cassettes: $(VENV)/.ready          ## record cassettes/ again, against the simulator
	$(RUN)/python tests/cassettes/record.py

EXPORT := uv export --frozen --no-hashes --no-header --all-packages --no-default-groups --group dev

lock:          ## after a change of a dependency: uv.lock, and the requirements that plain pip takes
	uv lock
	$(EXPORT) --group once --group sdks -o requirements-dev.txt >/dev/null
	$(EXPORT) --group sdks-genai3 -o requirements-genai3.txt >/dev/null
	$(EXPORT) --group sdks-litellm -o requirements-litellm.txt >/dev/null
	cp requirements-dev.txt requirements-oldest.txt  # the same versions, where they fit
	uv pip compile --quiet --universal --python-version 3.11 --no-header requirements-oldest.in -o requirements-oldest.txt

clean:          ## remove the environments
	rm -rf .venv .venv-*

# One new pip makes all environments: the pip that comes with an older Python takes thrice the time to choose a wheel.
# The project's own packages are built by one hatchling, not each by one of its own; modules are compiled when imported.
INSTALL := -m pip --disable-pip-version-check --quiet
define install
@grep '^-e' $< >$(1)/own.txt; grep -v '^-e' $< >$(1)/others.txt
$(if $(2),@$(2) .ci/seed.py $(1) $(1)/others.txt $(1)/own.txt)
@$(or $(2),$(1)/bin/python) $(INSTALL) --python $(1)/bin/python install --no-compile -r $(1)/others.txt 'hatchling>=1.27' editables
@test ! -s $(1)/own.txt || $(or $(2),$(1)/bin/python) $(INSTALL) --python $(1)/bin/python install --no-compile \
	--no-build-isolation -r $(1)/own.txt
@touch $@
endef

$(VENV)/.ready: requirements-dev.txt pyproject.toml $(PLUGINS)
	@test -n "$(PYTHON)" || { echo "custody needs Python >= 3.11; give one with PYTHON=..." >&2; exit 2; }
	@echo "making $(VENV) with $(PYTHON) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)/python $(INSTALL) install 'pip>=25.1'
	$(call install,$(VENV),)

# What is the same in the first environment is taken from there (.ci/seed.py), compiled modules too.
$(VENV)-%/.ready: requirements-%.txt pyproject.toml $(PLUGINS) $(VENV)/.ready
	@echo "making $(VENV)-$* with $(PYTHON) (once)"
	@$(PYTHON) -m venv --clear --without-pip $(VENV)-$*
	$(call install,$(VENV)-$*,$(RUN)/python)
