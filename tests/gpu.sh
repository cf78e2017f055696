#!/usr/bin/env bash
# Tests and measures everything on a GPU:
#
#   tests/gpu.sh [cuda|metal]
#
# Runs the tests of all ops on the GPU, trains and evaluates a network, and measures Mish in f32, f16
# and bf16 against a copy, candle-nn's composition and, on CUDA, PyTorch if it is installed. The
# default backend is Metal on a Mac and CUDA elsewhere. A failure does not stop the script: it lists
# all failures and prints a table of speeds at the end.
#
#   ELEMENTS  elements of the measured tensors (default 2^28: 1 GiB in f32; several are allocated)
#   BIN_DIR   a folder with prebuilt `mish` and the test executable `ops` or `ops-<hash>`, which
#             `cargo test --no-run` names. Then the script needs neither Cargo nor the CUDA toolkit,
#             only its libraries, for example from PyTorch's wheels
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

backend=${1:-$([ "$(uname)" = Darwin ] && echo metal || echo cuda)}
case $backend in
cuda | metal) ;;
*) echo "usage: tests/gpu.sh [cuda|metal]" >&2 && exit 2 ;;
esac
elements=${ELEMENTS:-268435456}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=$folder/failures
: >"$failures"

# Runs a command and records its failure.
step() {
    echo "--- $*"
    "$@" && return
    echo "$*" >>"$failures"
    return 1
}

# A property of the first GPU, from nvidia-smi.
gpu() {
    nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits 2>/dev/null | head -n 1
}

# The shared libraries that a program lacks.
lacking() {
    ldd "$1" | awk '/not found/ { print $1 }' | sort -u
}

# The folder of a library: the usual places and Python's packages first, then the whole disk.
folder_of() {
    local python roots found
    python=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
    roots=(/usr/local /usr/lib /usr/lib64 /opt "${CONDA_PREFIX:-/opt}" "${python:-/opt}" "$HOME/.local")
    found=$(find "${roots[@]}" -name "$1" -not -path '*/stubs/*' -print -quit 2>/dev/null)
    [ -n "$found" ] || found=$(find / -xdev -name "$1" -not -path '*/stubs/*' -print -quit 2>/dev/null)
    [ -n "$found" ] && dirname "$found"
}

# Adds the folders of a program's missing libraries to LD_LIBRARY_PATH.
find_libraries() {
    local library place
    for library in $(lacking "$1"); do
        place=$(folder_of "$library") || continue
        export LD_LIBRARY_PATH="$place${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    done
    library=$(lacking "$1")
    [ -z "$library" ] && return
    echo "$1 lacks" $library >&2
    return 1
}

if [ -n "${BIN_DIR:-}" ]; then
    mish=$BIN_DIR/mish
    executables=()
    for executable in "$BIN_DIR"/ops "$BIN_DIR"/ops-*; do
        [ -x "$executable" ] && executables+=("$executable")
    done
else
    if [ "$backend" = cuda ] && [ -z "${CUDA_COMPUTE_CAP:-}" ]; then
        capability=$(gpu compute_cap | tr -d .)
        [ -n "$capability" ] && export CUDA_COMPUTE_CAP=$capability
    fi
    step cargo build --release --workspace --features "$backend" --bins || exit 1
    build=(cargo test --release --workspace --features "$backend" --test ops --test gpu --no-run)
    step "${build[@]}" 2>&1 | tee "$folder/built" || exit 1
    mish=target/release/mish
    read -r -d '' -a executables < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$folder/built")
fi
for program in "$mish" "${executables[@]}"; do
    [ -x "$program" ] || { echo "there is no program $program" >&2 && exit 1; }
    [ "$backend" = metal ] || step find_libraries "$program" || exit 1
done
if [ "$backend" = cuda ]; then
    echo "GPU: $(gpu name), driver $(gpu driver_version), compute capability $(gpu compute_cap)"
    # Enables tests of tensors with more than 2^31 elements, several of 4 GiB each.
    [ "$(gpu memory.total)" -ge 40000 ] 2>/dev/null && export MISH_TEST_LARGE=1
fi

# One thread, because all tests share the device and its handles.
for executable in "${executables[@]}"; do
    step "$executable" --test-threads=1
done
run=$folder/run
step "$mish" train resnet20 --device "$backend" --dataset synthetic --epochs 1 --output "$run"
step "$mish" eval --weights "$run/best.safetensors" --device "$backend"

torch() {
    [ "$backend" = cuda ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null
}
types="f32:float32:4 f16:float16:2 bf16:bfloat16:2"
for type in $types; do
    IFS=: read -r dtype name size <<<"$type"
    step "$mish" bench mish --device "$backend" --dtype "$dtype" --shape "$elements" --rounds 20 |
        tee "$folder/ours-$dtype"
done
if torch; then
    for type in $types; do
        IFS=: read -r dtype name size <<<"$type"
        step python3 tests/reference/bench_torch.py mish --device cuda --dtype "$name" \
            --shape "$elements" | tee "$folder/torch-$dtype"
    done
else
    echo "skipped: PyTorch with CUDA is not installed"
fi

# The speed in GB/s of a row of mish's table.
ours() {
    awk -v name="$2" 'index($0, name "  ") == 1 { $0 = substr($0, 39); print $4; exit }' "$folder/ours-$1"
}
# The speed in GB/s of a PyTorch case that moves $3 bytes.
theirs() {
    [ -f "$folder/torch-$1" ] || return
    sed -n "s/.*\"name\": \"$2\", \"median_ms\": \([0-9.e+-]*\).*/\1/p" "$folder/torch-$1" |
        awk -v bytes="$3" '{ printf "%.1f\n", 1e-6 * bytes / $1 }'
}
# The first number as a percentage of the second.
percent() {
    awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (a > 0 && b > 0) printf "%.0f", 100 * a / b }'
}
row() {
    local cell
    for cell in "$@"; do printf '%-11s' "${cell:--}"; done
    printf '\n'
}
echo
echo "Mish on $elements elements, GB/s (candle-nn: bytes of a single pass over its time)"
row type copy forward '% of copy' backward '% of copy' torch 'torch bwd' candle-nn
for type in $types; do
    IFS=: read -r dtype name size <<<"$type"
    bytes=$((elements * size))
    copy=$(ours "$dtype" 'copy, warm memory')
    forward=$(ours "$dtype" 'mish, forward')
    backward=$(ours "$dtype" 'mish, backward')
    row "$dtype" "$copy" "$forward" "$(percent "$forward" "$copy")" \
        "$backward" "$(percent "$backward" "$copy")" \
        "$(theirs "$dtype" act_mish_fwd $((2 * bytes)))" \
        "$(theirs "$dtype" act_mish_bwd $((3 * bytes)))" \
        "$(ours "$dtype" 'candle-nn mish, forward')"
done
[ -s "$failures" ] || exit 0
echo
sed 's/^/failed: /' "$failures"
exit 1
