# Tasks of this project; `make` lists them. One profile and one set of features, so that no task compiles what another has.

CARGO ?= cargo
PYTHON ?= python3
# The base's own Python, with pip: `e2e` installs with it. A pyenv's is found, too.
PYTHON310 ?= $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.10.*/bin/python3.10) python3.10)
# Another Python in a prefix of its own, for an image that has it under /usr/local.
PYTHON311 ?= $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.11.*/bin/python3.11) python3.11)
# How many small random universes `universes` makes up for each kind of question.
UNIVERSES ?= 10000
# The Python of the scenarios that `bench` measures.
PYTHON312 ?= $(firstword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.12.*/bin/python3.12) python3.12)
# Vectors and pin lists from outside the project.
SUITES ?= ../shared/data
# A virtual environment with TFX 1.16.0 (2.9 GB), for `bench` and `e2e`, which make it where there is none. One of its
# distributions is built from source and needs Debian's libsnappy-dev.
VENV ?= target/tfx-1.16.0
# A full-size image of TFX 1.16.0, as an OCI layout in the folder's `layout` (1.1 GB, and 12 GB while it is made).
TFX_BASE ?= target/tfx-base
# A folder with the real wheels that the suites name, which are not fetched by themselves: `pip download --no-deps` does.
WHEELS ?=
# A registry with the referrers API, for `e2e-build`, which installs it where it is missing.
FERRO ?= target/ferro/bin/ferro-oci-server
IMGTOOL := $(or $(CARGO_TARGET_DIR),target)/release/imgtool

.DEFAULT_GOAL := help
.PHONY: help build check check-fuzz test universes suites tfx-base bench bench-images bench-build oracle e2e e2e-images e2e-build fixtures

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## compile the optimized executable
	$(CARGO) build --locked --release

check: ## formatting, lints, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test suites -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps

# Without the fuzzer's own C++, which only a run needs: stable Rust is enough.
check-fuzz: ## whether the fuzz targets still compile against the library
	CUSTOM_LIBFUZZER_PATH=none/libfuzzer.a $(CARGO) check --locked --target-dir '$(or $(CARGO_TARGET_DIR),target)' --manifest-path fuzz/Cargo.toml --bins

test: ## all tests that need nothing but this folder
	$(CARGO) test --locked

universes: ## the solver beside exhaustive searches: UNIVERSES=<number> (default 10,000) of each kind; minutes
	PROPTEST_CASES=$(UNIVERSES) $(CARGO) test --locked --test integration oracle::

suites: ## vectors from outside, in SUITES=<folder> (default ../shared/data); real wheels in WHEELS=<folder>
	@test -d '$(SUITES)' || { echo 'make suites: no folder $(SUITES); say SUITES=<folder>' >&2; exit 2; }
	IMGTOOL_SUITES='$(abspath $(SUITES))' IMGTOOL_WHEELS='$(abspath $(WHEELS))' $(CARGO) test --locked --test suites -- --show-output

$(VENV)/pyvenv.cfg:
	uv venv --no-python-downloads --python '$(PYTHON310)' '$(VENV)'
	uv pip install --python '$(VENV)' --no-deps -r '$(SUITES)/tfx/pins-1.16.0-py310.txt' || { rm -r '$(VENV)'; exit 1; }

tfx-base: ## a full-size image of TFX 1.16.0 that runs, in TFX_BASE; needs root, uv and the network
	$(PYTHON) tests/oracle/tfx_base.py --output '$(TFX_BASE)' --python '$(PYTHON310)' --pins '$(SUITES)/tfx/pins-1.16.0-py310.txt'

bench: build $(VENV)/pyvenv.cfg ## imgtool beside uv on TFX 1.16.0 in VENV, then bench-images, bench-build; needs uv and the network
	$(PYTHON) benches/compare.py --imgtool '$(IMGTOOL)' --venv '$(VENV)'
	$(PYTHON) benches/resolve.py --imgtool '$(IMGTOOL)' --venv '$(VENV)' --suites '$(SUITES)' --python '$(PYTHON312)'
	$(MAKE) --no-print-directory bench-images
	$(MAKE) --no-print-directory bench-build

bench-images: build tfx-base ## `inspect` beside igzip, gzip, syft and umoci on the image in TFX_BASE
	$(PYTHON) benches/images.py --imgtool '$(IMGTOOL)' --layout '$(TFX_BASE)/layout'

bench-build: build tfx-base ## `build --push` beside buildah on the image in TFX_BASE; needs root and the network
	$(PYTHON) benches/build.py --imgtool '$(IMGTOOL)' --layout '$(TFX_BASE)/layout'

oracle: build $(VENV)/pyvenv.cfg ## answers beside uv's on every base, smallest changes applied beside pip; needs uv and the network
	$(PYTHON) tests/oracle/compare.py --imgtool '$(IMGTOOL)' --tfx '$(SUITES)/tfx'
	$(PYTHON) tests/oracle/minimal.py --imgtool '$(IMGTOOL)' --tfx '$(SUITES)/tfx' --venv '$(VENV)' --python '$(PYTHON310)'

e2e: build $(VENV)/pyvenv.cfg ## resolve, install and import on a real TFX 1.16.0, then e2e-images, e2e-build; needs uv and the network
	$(PYTHON) tests/oracle/real_environment.py --imgtool '$(IMGTOOL)' --python '$(PYTHON310)' --venv '$(VENV)' --pins '$(SUITES)/tfx/pins-1.16.0-py310.txt'
	$(MAKE) --no-print-directory e2e-images
	$(MAKE) --no-print-directory e2e-build

e2e-images: build ## `inspect` beside pip and syft on images by real tools, through every transport; needs root and the network
	$(PYTHON) tests/oracle/images.py --imgtool '$(IMGTOOL)' --python '$(PYTHON310)' --local-python '$(PYTHON311)'

$(FERRO):
	$(CARGO) install --locked --root '$(@D)/..' ferro-oci-server

e2e-build: build tfx-base $(FERRO) ## layers of `build` beside pip, images under podman, pushes to real registries; needs root and the network
	$(PYTHON) tests/oracle/registries.py --ferro '$(FERRO)' --cargo '$(CARGO)'
	$(PYTHON) tests/oracle/build.py --imgtool '$(IMGTOOL)' --layout '$(TFX_BASE)/layout' --python '$(PYTHON310)' \
	  --debian-python '$(PYTHON311)'
	$(PYTHON) tests/oracle/trainer_image.py --imgtool '$(IMGTOOL)' --layout '$(TFX_BASE)/layout' --python '$(PYTHON311)' \
	  --schemas '$(SUITES)/oci/schemas'

fixtures: ## record the offline index of the tests anew; needs uv and the network
	$(PYTHON) tests/record_fixtures.py --pins '$(SUITES)/tfx/pins-1.16.0-py310.txt'
