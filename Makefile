# obsd builds with Python >= 3.11, Rust and gcc. `make help` lists the targets.
#
# Everything is built once and again only when its inputs change: the virtual environment and
# what pip put into it (stamps in .venv), the native module, the wheel.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

export CARGO_TERM_COLOR ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_QUIET := 1
export VIRTUAL_ENV := $(abspath $(VENV))
export PYO3_PYTHON := $(VIRTUAL_ENV)/bin/python

NATIVE_SOURCES := native/Cargo.toml native/Cargo.lock $(shell find native/src -name '*.rs')
NATIVE_MODULE := obsd/_native.abi3.so
PACKAGE_SOURCES := $(NATIVE_SOURCES) pyproject.toml README.md LICENSE $(shell find obsd -name '*.py' -o -name '*.pyi' -o -name '*.lark')

# As an extension module the crate is not linked against libpython, which Debian has in a package
# of its own; its tests are plain Rust and need none.
CRATE := --manifest-path native/Cargo.toml --locked --features extension-module

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# --- Build ---------------------------------------------------------------------------------------

.PHONY: install
install: $(STAMPS)/obsd $(NATIVE_MODULE) ## Build obsd into .venv, as .venv/bin/obsd

$(STAMPS)/venv:
	@python=$$(scripts/toolchain.sh python); "$$python" -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# One stamp a group of requirements: build, runtime, and the optional groups of pyproject.toml.
$(STAMPS)/deps-%: pyproject.toml | $(STAMPS)/venv
	@echo "obsd: installing the Python packages for: $*"
	@$(BIN)/python scripts/requirements.py $* >$(STAMPS)/$*.txt
	@$(BIN)/pip install --requirement $(STAMPS)/$*.txt
	@touch $@

# The module is removed first, since one built for another interpreter would win over it.
$(STAMPS)/obsd $(NATIVE_MODULE) &: $(NATIVE_SOURCES) pyproject.toml $(STAMPS)/deps-build $(STAMPS)/deps-runtime
	@scripts/toolchain.sh rust
	@echo "obsd: building the native module"
	@rm -f obsd/_native*.so
	@$(BIN)/maturin develop --release --locked --quiet >$(STAMPS)/maturin.log 2>&1 || { cat $(STAMPS)/maturin.log; exit 1; }
	@touch $(STAMPS)/obsd $(NATIVE_MODULE)

# --- Run -----------------------------------------------------------------------------------------

.PHONY: serve
serve: install ## Run the server: make serve ARGS="--data-dir DIR"
	@exec $(BIN)/obsd serve $(ARGS)

# --- Check ---------------------------------------------------------------------------------------

.PHONY: test
test: test-native test-python ## Run every test, the Rust ones first

.PHONY: test-native
test-native: $(STAMPS)/venv
	@scripts/toolchain.sh rust
	cargo test $(CRATE) --quiet

# pip brings a Go where there is none, or one too old for the clients in tests/clients.
.PHONY: peers
peers: $(STAMPS)/venv
	@scripts/peers.sh
	@for lock in tests/clients/*/package-lock.json; do \
		(cd "$${lock%/*}" && { [ node_modules/.package-lock.json -nt package-lock.json ] || \
			npm ci --no-audit --no-fund --silent; }) || exit 1; \
	done
	@PATH="$(VIRTUAL_ENV)/bin:$$PATH" scripts/toolchain.sh go || $(MAKE) --no-print-directory $(STAMPS)/deps-go

.PHONY: test-python
test-python: install $(STAMPS)/deps-test peers
	PATH="$(VIRTUAL_ENV)/bin:$$PATH" $(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: lint
lint: install $(STAMPS)/deps-test $(STAMPS)/deps-lint ## Check layout, types, imports and documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest --ignore-disjoint-bases obsd._native
	cargo fmt --manifest-path native/Cargo.toml --check
	cargo clippy $(CRATE) --all-targets --quiet -- -D warnings
	@$(MAKE) --no-print-directory docs

.PHONY: format
format: $(STAMPS)/deps-lint ## Lay out the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	cargo fmt --manifest-path native/Cargo.toml

.PHONY: bench
bench: install $(STAMPS)/deps-test peers ## Compare with peers on this machine: docs/benchmarks.md
	$(BIN)/python benchmarks/remote_write.py $(ARGS)

# --- Ship ----------------------------------------------------------------------------------------

# zig links against an old C library, so that one wheel runs on every Linux since 2014 (glibc 2.17)
# and, being abi3, on every Python from 3.11 on. The check installs it where no compiler is found.
.PHONY: wheel
wheel: build/wheel.stamp ## Build the one wheel that installs anywhere, into dist/

build/wheel.stamp: $(PACKAGE_SOURCES) $(STAMPS)/deps-build $(STAMPS)/deps-wheel
	@scripts/toolchain.sh rust
	@echo "obsd: building the wheel"
	@rm -rf build/wheel-check dist/*.whl
	@PATH="$(abspath $(BIN)):$$PATH" maturin build --release --locked --quiet \
		--zig --compatibility manylinux_2_17 --out dist
	@$(BIN)/python -m venv build/wheel-check
	@PATH=/nonexistent build/wheel-check/bin/python -m pip install --quiet --only-binary :all: dist/*.whl
	@cd build && PATH=/nonexistent wheel-check/bin/obsd --version
	@rm -rf build/wheel-check
	@touch $@
	@ls dist/*.whl

# Not --quiet, with which --strict forgives everything. The variable silences an advertisement.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

.PHONY: docs
docs: $(STAMPS)/deps-docs ## Build the documentation into site/
	@$(MKDOCS) build --strict 2>&1 | { grep -v '^INFO' || true; }

.PHONY: clean
clean: ## Remove what was built, .venv included
	rm -rf $(VENV) build dist site native/target obsd/_native*.so
	find obsd tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
