#!/usr/bin/env bash
# Builds the examples into build/, with the tools of their languages: build.sh [--test] [EXAMPLE...]
#
# Without names, it builds all examples. --test runs the conformance kit on each component in build/, with
# the program that the variable OCCYSTRAP names, or with 'occystrap' in PATH. Downloads and build results
# are kept in the folder that the variable EXAMPLES_CACHE names, so that the next run is short.
set -euo pipefail
cd "$(dirname "$0")"

cache=${EXAMPLES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/occystrap/examples}
occystrap=${OCCYSTRAP:-occystrap}
test=
chosen=()
for word in "$@"; do
    case $word in
    --test) test=1 ;;
    rust-inventory | rust-webdav | python-layers-csv | javascript-flat) chosen+=("$word") ;;
    *)
        echo "there is no example '$word'" >&2
        exit 2
        ;;
    esac
done
if [ "${#chosen[@]}" -eq 0 ]; then
    chosen=(rust-inventory rust-webdav python-layers-csv javascript-flat)
fi
mkdir -p build "$cache"

# Builds a crate as another author would, with a target folder outside this repository.
rust() (
    cd "rust-$1"
    rustup target add wasm32-unknown-unknown >/dev/null 2>&1 || true
    CARGO_TARGET_DIR=$cache/rust cargo plugin --quiet --locked
    cp "$cache/rust/wasm32-unknown-unknown/release/$1.wasm" ../build/
)

rust_inventory() {
    rust inventory
}

rust_webdav() {
    rust webdav
}

python_layers_csv() (
    version=0.25.1
    tool=$cache/componentize-py-$version
    if [ ! -x "$tool/bin/componentize-py" ]; then
        python3 -m venv "$tool"
        "$tool/bin/pip" install --quiet --disable-pip-version-check "componentize-py==$version"
    fi
    cd python-layers-csv
    PYTHONDONTWRITEBYTECODE=1 "$tool/bin/componentize-py" -q -d ../../wit -d wit -w example:layers-csv/plugin \
        componentize -s app -o ../build/layers-csv.wasm
    # A second component has all imports of the Python runtime, for tests of what the host grants it.
    PYTHONDONTWRITEBYTECODE=1 "$tool/bin/componentize-py" -q -d ../../wit -d wit -w example:layers-csv/plugin \
        componentize app -o ../build/layers-csv-wasi.wasm
)

javascript_flat() (
    local modules
    modules=$cache/javascript-$(sha256sum javascript-flat/package.json | cut -c 1-16)
    if [ ! -e "$modules/complete" ]; then
        rm -rf "$modules" && mkdir "$modules"
        cp javascript-flat/package.json "$modules"
        (cd "$modules" && npm install --no-audit --no-fund --no-package-lock --loglevel=error)
        touch "$modules/complete"
    fi
    cd javascript-flat
    [ -e node_modules ] || ln -s "$modules/node_modules" node_modules
    npm run --silent build
    cp build/flat.wasm ../build/
)

for example in "${chosen[@]}"; do
    started=$SECONDS
    "${example//-/_}"
    echo "built $example in $((SECONDS - started)) s"
done
if [ -n "$test" ]; then
    for component in build/*.wasm; do
        "$occystrap" plugin test "$component"
    done
fi
