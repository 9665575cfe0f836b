#!/usr/bin/env bash
# Tests the examples: test.sh [three-images] [nightly]
#
# It starts three registries of its own (docker-registry) in place of docker.io, quay.io and mirror.example.com, fills two of
# them with images, and runs what each example says: its file, its scripts, and the command lines of its units and of its
# lines for cron. It checks exit codes and counts. It takes half a minute at most.
#
# 'occystrap' is the program that the variable OCCYSTRAP names, or the one in PATH. What a check needs and is not installed is
# named as skipped; with CI=true that is an error.
set -euo pipefail
cd "$(dirname "$0")"

occystrap=$(command -v "${OCCYSTRAP:-occystrap}") || {
    echo "there is no program '${OCCYSTRAP:-occystrap}': name one with the variable OCCYSTRAP" >&2
    exit 2
}
export OCCYSTRAP=$occystrap
image=$PWD/../../tests/fixtures/hello.tar
examples=$PWD
work=$(mktemp -d)
pids=()

stop() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT

fail() {
    printf 'FAILED: %s\n' "$1" >&2
    exit 1
}

# Says what cannot be checked here.
skip() {
    if [ "${CI:-}" = true ]; then
        fail "$1"
    fi
    printf 'skipped: %s\n' "$1"
}

# Starts a registry on a free port, and sets `address`.
registry() {
    local log=$work/$1.log
    cat >"$work/$1.yml" <<END
version: 0.1
log: {accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/$1}, delete: {enabled: true}}
http: {addr: '127.0.0.1:0'}
END
    docker-registry serve "$work/$1.yml" >"$log" 2>&1 &
    pids+=($!)
    for _ in $(seq 100); do
        address=$(sed -n 's/.*listening on \(127[0-9.:]*\).*/\1/p' "$log")
        if [ -n "$address" ]; then
            return
        fi
        sleep 0.1
    done
    fail "the registry '$1' does not listen: $(cat "$log")"
}

# Writes the image to each of these names, from an archive to the first and from there to the others. With --compression=zstd
# it is another image.
push() {
    local options=()
    if [ "$1" = --compression=zstd ]; then
        options=("$1")
        shift
    fi
    local first=$1 name
    shift
    "$occystrap" --quiet --insecure process "${options[@]}" "tar://$image" "registry://$first"
    if [ $# -gt 0 ]; then
        printf 'version: 1\nimages:\n' >"$work/fill.yaml"
        for name in "$@"; do
            printf -- '- from: %s\n  to: %s\n' "$first" "$name" >>"$work/fill.yaml"
        done
        "$occystrap" --quiet --insecure mirror run "$work/fill.yaml" >/dev/null 2>&1 || fail "the registries cannot be filled"
    fi
}

# Copies an example, with the registries of this test in its file and its list.
prepare() {
    cp -r "$examples/$1" "$work/example"
    cd "$work/example"
    sed -i "s|docker\\.io|$hub|; s|quay\\.io|$quay|; s|mirror\\.example\\.com|$mirror|" mirror.yaml
    if [ -e images.txt ]; then
        sed -i "s|docker\\.io|$hub|" images.txt
    fi
}

# Runs a command, which must exit with this code and print each of these texts: expect CODE [TEXT...] -- COMMAND...
expect() {
    local code=$1 found=0 texts=() text
    shift
    while [ "$1" != -- ]; do
        texts+=("$1")
        shift
    done
    shift
    "$@" >"$work/said" 2>&1 || found=$?
    if [ "$found" -ne "$code" ]; then
        cat "$work/said" >&2
        fail "$*: exit code $found, expected $code"
    fi
    for text in "${texts[@]}"; do
        if ! grep -qF -e "$text" "$work/said"; then
            cat "$work/said" >&2
            fail "$*: it does not say '$text'"
        fi
    done
    printf 'ok: %s: exit code %s%s\n' "${*//$work\//}" "$code" "${texts[*]:+, ${texts[*]}}"
}

mirror() {
    "$occystrap" --insecure mirror "$@"
}

three_images() {
    prepare three-images
    push "$hub/library/busybox:1.36" "$hub/library/redis:7-alpine"
    push --compression=zstd "$quay/prometheus/prometheus:v3.0.0"
    expect 4 "Plan: 3 images, 3 new, 0 unchanged" -- mirror plan mirror.yaml --exit-code
    expect 1 "the ledger 'mirror.yaml.ledger' does not exist" -- mirror verify mirror.yaml
    expect 0 "Summary: 3/3 images, 3 copied" "3 verified" -- mirror run mirror.yaml
    expect 0 "Summary: 3/3 images, 3 unchanged" -- mirror run mirror.yaml
    expect 0 "Plan: 3 images, 3 unchanged" "7 of 7 blobs" "Whole mirror: 100.0 %" -- ./gate.sh --insecure
    expect 0 "3 of 3 images done, 0 open, 0 failed" -- mirror status mirror.yaml

    echo "The tag of an image is removed at the mirror:"
    rm -r "$work/mirror/docker/registry/v2/repositories/hub/redis/_manifests/tags/7-alpine"
    expect 4 "Plan: 3 images, 1 new, 2 unchanged" -- ./gate.sh --insecure
    expect 1 "the tag is missing" "1 FAILED" -- mirror verify mirror.yaml
    expect 0 "Repair: 1 repaired" -- mirror repair mirror.yaml
    expect 0 "Whole mirror: 100.0 %" -- ./gate.sh --insecure

    echo "A layer at the mirror loses a bit:"
    local layer
    layer=$(find "$work/mirror/docker/registry/v2/blobs" -name data -size +4k | head -n 1)
    printf X | dd of="$layer" bs=1 seek=700 conv=notrunc status=none
    expect 1 "wrong bytes" "1 FAILED" -- mirror verify mirror.yaml --full
    expect 4 "2 verify, 1 unchanged" -- ./gate.sh --insecure
    expect 1 "kept-damaged" "hint: remove" -- mirror repair mirror.yaml
    rm "$layer"
    expect 0 "Repair: 1 repaired" -- mirror repair mirror.yaml
    expect 0 "Whole mirror: 100.0 %" -- ./gate.sh --insecure

    echo "An image is removed at its source:"
    rm -r "$work/hub/docker/registry/v2/repositories/library/busybox/_manifests/tags/1.36"
    expect 1 "2 unchanged, 1 could not be asked" -- ./gate.sh --insecure
    expect 1 "failed" "1 FAILED" -- mirror run mirror.yaml
}

# Runs the command of a unit, with the folders that systemd and the administrator would have made.
unit() {
    local text
    text=$(sed -n '/^ExecStart=/,/[^\\]$/p' "$1" | sed 's/^ExecStart=//; s/\\$//' | tr -d '\n')
    bash -c "$(in_folders "$text")"
}

# Runs the command of the line for cron that contains this word.
cron() {
    local text
    text=$(grep -F " $1 " occystrap-mirror.cron | sed 's/^[^a-z]* occystrap-mirror //')
    bash -c "$(in_folders "$text")"
}

# Prints a command with the folders of this test.
in_folders() {
    local text=$1
    text=${text//'${STATE_DIRECTORY}'/$work/state}
    text=${text//'/var/lib/occystrap-mirror'/$work/state}
    text=${text//'${CREDENTIALS_DIRECTORY}'/$work/credentials}
    text=${text//'/var/lib/prometheus/node-exporter'/$work/node-exporter}
    text=${text//'/etc/occystrap-mirror'/$work/example}
    text=${text//'/usr/local/bin/occystrap'/$occystrap}
    text=${text//' occystrap -q '/ $occystrap -q }
    printf '%s --insecure\n' "$text"
}

nightly() {
    prepare nightly
    mkdir -p "$work/state" "$work/credentials" "$work/node-exporter"
    echo '{"auths": {}}' | tee auth.json >"$work/credentials/auth.json"
    local busybox=$hub/library/busybox state=$work/state
    push "$busybox":{1.35,1.36,1.36.1,1.37,1.37.1,1.38,1.38.1,1.38.1-musl,latest} \
        "$quay/prometheus/prometheus":{v2.53.0,v3.0.0,v3.1.0-rc.0,v3.1.0} \
        "$quay/prometheus/alertmanager":{v0.27.0,v0.28.0-rc.0} "$hub/library/redis:7-alpine" "$hub/library/nginx:1.27"
    # Another image of that name is at the mirror already, and `on-conflict: keep` leaves it.
    push --compression=zstd "$mirror/${hub/:/-}/library/nginx:1.27"
    # A signature, as cosign writes it: the tag sha256-DIGEST.sig.
    local digest signature
    digest=$("$occystrap" --insecure info -O json "registry://$busybox:1.38.1" | sed -n 's/.*"manifest_digest": "sha256:\(.*\)".*/\1/p')
    signature=sha256-$digest.sig
    push --compression=zstd "$busybox:$signature"

    expect 4 "Plan: 11 images, 10 new, 1 kept, 0 unchanged" -- mirror plan mirror.yaml --exit-code
    expect 0 "Summary: 11/11 images, 10 copied, 1 kept" -- unit occystrap-mirror.service
    expect 0 '"copied": 10,' '"kept": 1,' '"failed": 0,' '"left_out": 0' -- cat "$state/mirror.json"
    expect 0 "All is as the file wants: 11 images are there." -- cat "$state/mirror.html"
    expect 0 -- "$occystrap" --insecure info "registry://$mirror/hub/busybox:$signature"
    expect 0 "7 of 7 blobs" "Whole mirror: 100.0 %" -- unit occystrap-mirror-verify.service
    expect 0 "Summary: 11/11 images, 10 unchanged, 1 kept" -- unit occystrap-mirror.service

    # Immutable tags are not asked for again: of eleven images, the mirror was asked about four at most.
    local asked
    asked=$(sed -n "s/.*\"$mirror\": \([0-9]*\),\{0,1\}\$/\1/p" "$state/mirror.json" | head -n 1)
    [ "$asked" -le 4 ] || fail "immutable tags: $asked requests to the mirror, expected 4 at most"

    echo "The tag 'latest' moves at its source:"
    push --compression=zstd "$busybox:latest"
    expect 0 -- cron run
    [ ! -s "$work/said" ] || fail "cron run, where all is well, says: $(cat "$work/said")"
    expect 0 -- cron verify

    echo "The list no longer names an image:"
    sed -i '/redis/d' images.txt
    expect 0 "1 are at the destination and stay there" -- unit occystrap-mirror.service
    expect 0 "library/redis:7-alpine" "1 image is extra" -- mirror prune mirror.yaml --ledger "$state/mirror.ledger"

    local metric
    for metric in $(grep -o 'occystrap_mirror_[a-z_]*' alerts.yml | sort -u); do
        expect 0 "$metric{" -- cat "$work/node-exporter/occystrap-mirror.prom"
    done
    units
}

# Checks the units and the rules with the programs that read them.
units() {
    local said
    if command -v systemd-analyze >/dev/null; then
        said=$(systemd-analyze verify ./*.service ./*.timer 2>&1) || fail "systemd-analyze verify: $said"
        # It has exit code 0 for a key that it does not know.
        if [ -n "$said" ]; then
            fail "systemd-analyze verify: $said"
        fi
        echo "ok: systemd-analyze verify"
    else
        skip "units: systemd-analyze is not installed"
    fi
    if command -v promtool >/dev/null; then
        expect 0 "8 rules found" -- promtool check rules alerts.yml
        expect 0 "SUCCESS" -- promtool test rules alerts_test.yml
    else
        skip "alerts: promtool is not installed"
    fi
}

if ! command -v docker-registry >/dev/null; then
    skip "all examples: docker-registry is not installed"
    exit 0
fi
chosen=("$@")
if [ "${#chosen[@]}" -eq 0 ]; then
    chosen=(three-images nightly)
fi
for example in "${chosen[@]}"; do
    case $example in
    three-images | nightly) ;;
    *)
        echo "there is no example '$example'" >&2
        exit 2
        ;;
    esac
    started=$SECONDS
    registry hub && hub=$address
    registry quay && quay=$address
    registry mirror && mirror=$address
    "${example//-/_}"
    stop
    mkdir "$work"
    cd "$examples"
    pids=()
    echo "tested $example in $((SECONDS - started)) s"
done
