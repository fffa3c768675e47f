#!/usr/bin/env bash
# Finds what a build needs, or names in one line what is missing and how to get it.
#
#   toolchain.sh python   prints a Python that can make the virtual environment
#   toolchain.sh rust     checks cargo and rustc against native/Cargo.toml
#   toolchain.sh go       whether a Go is on PATH that builds the clients under tests/clients
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing() {
    printf 'obsd: %s\n' "$1" >&2
    exit 1
}

at_least() { # FOUND WANTED
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

find_python() {
    local candidate path found=""
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        path=$(command -v "$candidate") || continue
        if ! "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            found="$("$path" --version 2>&1 || true) at $path is too old; "
            continue
        fi
        "$path" -c 'import ensurepip, venv' 2>/dev/null ||
            missing "$path cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"
        printf '%s\n' "$path"
        return
    done
    missing "${found}Python 3.11 or newer is needed; on Debian or Ubuntu: apt-get install python3 python3-venv (or name one: make PYTHON=/path/to/python3)"
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' native/Cargo.toml)
    local how="install it with rustup (rustup.rs), or update with: rustup update stable"
    command -v cargo >/dev/null && command -v rustc >/dev/null ||
        missing "Rust $wanted or newer is needed, and cargo is not on PATH; $how"
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$found" "$wanted" || missing "Rust $wanted or newer is needed, found $found; $how"
    command -v cc >/dev/null ||
        missing "a C compiler is needed; on Debian or Ubuntu: apt-get install gcc libc6-dev"
}

has_go() {
    local wanted found
    command -v go >/dev/null || return 1
    wanted=$(sed -n 's/^go //p' tests/clients/*/go.mod | sort -V | tail -n 1)
    found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
    at_least "${found#go}" "$wanted"
}

case "${1:-}" in
    python) find_python ;;
    rust) check_rust ;;
    go) has_go ;;
    *) missing "usage: toolchain.sh python|rust|go" ;;
esac
