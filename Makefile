# Everything a person or a machine does with this project starts here: make help

python = .venv/bin/python
TESTS ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long testhost bench simulate lint lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what wirt needs; then the command is .venv/bin/wirt (QEMU=distribution: Debian 12's QEMU 7.2)
	@QEMU='$(QEMU)' tools/setup.sh run

demo: setup ## set up, then show what wirt does, on guests of its own
	$(python) -m tools.demo $(ARGS)

test: ## set up, lint, and run all tests, two parts side by side (TESTS=path: one corner; ARGS='-k word')

# A corner is run by one pytest, which may ask for the terminal; all is run in parts, by tools/all_tests.py
ifdef TESTS
test: lint qemu-7.2
	$(call pytest,-m "not long and not testhost" $(TESTS))
else
test: dev qemu-7.2
	@$(python) -m tools.all_tests $(ARGS)
endif

test-long: dev qemu-7.2 ## the tests that take long, those in the test host, and properties with new examples each time
	$(call pytest,--hypothesis-profile=default -m "long or testhost or hypothesis" $(TESTS))

simulate: dev ## whole clusters in memory, from seeds
	$(call pytest,tests/simulation)

testhost: dev ## the Debian guest for what this machine's kernel lacks (ARGS=shell, or ARGS='run COMMAND')
	@$(python) -m tests.testhost $(or $(ARGS),build)

bench: ## measure wirt, and libvirt on the same machine
	@QEMU='$(QEMU)' tools/setup.sh bench
	$(python) -m bench $(ARGS)

lint: dev ## ruff, mypy, and the rules of who may import whom
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	.venv/bin/lint-imports

lock: dev ## write the lock files anew from pyproject.toml (ARGS=--upgrade: newer versions)
	$(compile) requirements.in --output-file requirements.txt
	$(compile) requirements.in --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean: ## remove what make made in this directory
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# ---- not for the command line

.PHONY: dev qemu-7.2

dev:
	@QEMU='$(QEMU)' tools/setup.sh test

qemu-7.2: dev
	@tools/setup/qemu-distribution.sh .cache/qemu-7.2

# No address of an index or a mirror gets into a lock file: whoever installs from it has his own
compile = .venv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(ARGS)

define pytest
	@$(python) -m pytest $(1) $(ARGS) || { status=$$?; \
		[ $$status != 5 ] || echo 'make: not one test was selected; that is a failure' >&2; exit $$status; }
endef
