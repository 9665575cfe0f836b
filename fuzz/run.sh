#!/usr/bin/env bash
# Fuzzes the parsers of untrusted input: fuzz/run.sh [SECONDS] [TARGET...]
#
# Each target (default: all) runs for SECONDS (default: 10), two at a time. Inputs that reach new code are
# kept in the target folder, and the next run starts with them. Inputs that break something are kept there as
# well. It needs stable Rust and a C++ compiler (for libFuzzer), but neither nightly Rust nor cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")"

seconds=10
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
known=(archive auth_file challenge config document filter layer layer_cache manifest mirror_file no_proxy plugins_toml receipt uri)
for target in "$@"; do
    if [[ " ${known[*]} " != *" $target "* ]]; then
        echo "there is no target '$target'; there are: ${known[*]}" >&2
        exit 2
    fi
done
targets=("$@")
if [ "$#" -eq 0 ]; then
    targets=("${known[@]}")
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "cannot fuzz: libFuzzer needs a C++ compiler, 'apt-get install g++'" >&2
    exit 1
fi

folder=$(realpath -m "${CARGO_TARGET_DIR:-../target}")
export CARGO_TARGET_DIR=$folder
started=$SECONDS
RUSTC_WRAPPER="$PWD/instrument" cargo build --quiet --locked --bins
echo "built in $((SECONDS - started)) s"

fuzz() {
    local target=$1 kept=$folder/fuzz
    local log=$kept/$target.log corpus=$kept/corpus/$target longest=4096 code=0
    # A tar header has 512 bytes. An archive with an image has about twenty blocks of that size.
    case $target in archive | layer) longest=20480 ;; esac
    mkdir -p "$corpus" "$kept/broken"
    # An input that takes ten seconds or a gigabyte counts as broken as well.
    "$folder/debug/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len="$longest" -artifact_prefix="$kept/broken/$target-" -print_final_stats=1 \
        -verbosity=1 "$corpus" "seeds/$target" >"$log" 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
        tail -n 40 "$log"
        echo "$target: BROKEN (exit code $code); to repeat it: $folder/debug/$target FILE"
        return 1
    fi
    # Without these counters, libFuzzer would try random inputs and find nothing.
    if ! grep -q 'inline 8-bit counters' "$log"; then
        echo "$target: occystrap was built without counters; run 'cargo clean -p occystrap' in fuzz/ and try again"
        return 1
    fi
    local runs covered
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.*cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    echo "$target: $runs inputs in $seconds s, $covered branches"
}

failed=()
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    pair=("${targets[@]:at:2}")
    jobs=()
    for target in "${pair[@]}"; do
        fuzz "$target" &
        jobs+=($!)
    done
    for which in "${!jobs[@]}"; do
        wait "${jobs[which]}" || failed+=("${pair[which]}")
    done
done
if [ "${#failed[@]}" -ne 0 ]; then
    echo "broken: ${failed[*]}" >&2
    exit 1
fi
