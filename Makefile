# Tasks of this project; `make` lists them. One profile and one set of features, so that no task compiles what another has.

CARGO ?= cargo
PYTHON ?= python3
# The base's own Python, with pip: `e2e` installs with it.
PYTHON310 ?= python3.10
# Vectors and pin lists from outside the project.
SUITES ?= ../shared/data
# A Python 3.10 with TFX 1.16.0 installed, for `bench` and `e2e`; `e2e` builds one where there is none.
VENV ?= target/tfx-1.16.0
IMGTOOL := $(or $(CARGO_TARGET_DIR),target)/release/imgtool

.DEFAULT_GOAL := help
.PHONY: help build check test suites bench oracle e2e fixtures

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## compile the optimized executable
	$(CARGO) build --locked --release

check: ## formatting, lints, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test suites -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps

test: ## all tests that need nothing but this folder
	$(CARGO) test --locked

suites: ## vectors from outside, in SUITES=<folder> (default ../shared/data)
	@test -d '$(SUITES)' || { echo 'make suites: no folder $(SUITES); say SUITES=<folder>' >&2; exit 2; }
	IMGTOOL_SUITES='$(abspath $(SUITES))' $(CARGO) test --locked --test suites -- --show-output

bench: build ## imgtool beside uv: time, memory, requests; VENV=<TFX 1.16.0 environment>, needs uv and the network
	$(PYTHON) benches/compare.py --imgtool '$(IMGTOOL)' --venv '$(VENV)'

oracle: build ## imgtool's answers beside uv's on every base; needs uv and the network
	$(PYTHON) tests/oracle/compare.py --imgtool '$(IMGTOOL)' --tfx '$(SUITES)/tfx'

e2e: build ## resolve, install and import on a real TFX 1.16.0 in VENV=<folder> (copied); needs uv and the network
	$(PYTHON) tests/oracle/real_environment.py --imgtool '$(IMGTOOL)' --python '$(PYTHON310)' --venv '$(VENV)' --pins '$(SUITES)/tfx/pins-1.16.0-py310.txt'

fixtures: ## record the offline index of the tests anew; needs uv and the network
	$(PYTHON) tests/record_fixtures.py --pins '$(SUITES)/tfx/pins-1.16.0-py310.txt'
