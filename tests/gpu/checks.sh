#!/usr/bin/env bash
# The checks of the CUDA and Metal code that need no GPU but take long; what is light runs with
# `cargo test --test gpu`.
#
#   tests/gpu/checks.sh [cuda] [metal] [kernels] [registers]
#
# cuda       types and lints of the features cuda, cudnn and nccl, with a stand-in for nvcc
# metal      types and lints of the feature metal, tests included, off Apple's platforms, in patched
#            copies of two crates of bindings that refuse to compile there; nothing is linked. Run
#            `cargo fetch` first
# kernels    the kernels as C++ under AddressSanitizer and UndefinedBehaviorSanitizer, and those for
#            Metal with real address spaces (needs clang++)
# registers  registers and spills of every CUDA kernel (needs nvcc and ptxas)
#
# Without names it runs every check that the machine has the tools for. The build goes to
# target/gpu-checks.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
sources=src/ops/activation/gpu/kernels
work=$root/target/gpu-checks
mkdir -p "$work"

# The names of the rows of functions.h.
names() {
    sed -n 's/^ACTIVATION(\([a-z0-9_]*\),.*/\1/p' "$sources/functions.h"
}

cuda() {
    export PATH="$root/tests/gpu/stand-in:$PATH" CARGO_TARGET_DIR="$work/cuda"
    export CUDA_COMPUTE_CAP=90 CUDARC_CUDA_VERSION=13000
    unset NVCC CUDA_HOME CUDA_PATH
    for feature in cuda cudnn nccl; do
        cargo clippy --workspace --features "$feature" --locked -- -D warnings
    done
    cargo clippy --features cuda --tests --locked -- -D warnings
}

# The crate $1 of the registry, copied to the work folder; prints where.
copied() {
    local source
    source=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "$1-[0-9]*" | sort -V | tail -n 1)
    [ -n "$source" ] || { echo "$1 is not in the registry: run cargo fetch" >&2 && exit 1; }
    rm -rf "${work:?}/$1" && cp -r "$source" "$work/$1"
    echo "$work/$1"
}

metal() {
    local foundation bindings
    foundation=$(copied objc2-foundation)
    bindings=$(copied objc2-metal)
    # The first leaves URLs out off Apple's platforms, which the second needs; the second links a
    # framework.
    sed -i '/^#!\[cfg(not(feature = "gnustep-1-7"))\]/d' "$foundation/src/url.rs"
    sed -i 's/^#\[link(name = "Metal", kind = "framework")\]$//' "$bindings/src/generated/mod.rs"
    cat >>"$bindings/Cargo.toml" <<'EOF'

[target.'cfg(not(target_vendor = "apple"))'.dependencies.objc2-foundation]
version = "0.3"
default-features = false
features = ["gnustep-2-1"]
EOF
    # The patches are written into the lock file, which is put back as it was.
    cp Cargo.lock "$work/Cargo.lock"
    trap 'cp "$work/Cargo.lock" Cargo.lock' EXIT
    local patches=(
        --config "patch.crates-io.objc2-foundation.path='$foundation'"
        --config "patch.crates-io.objc2-metal.path='$bindings'"
    )
    export CARGO_TARGET_DIR="$work/metal"
    cargo clippy --workspace --features metal "${patches[@]}" -- -D warnings
    cargo clippy --features metal --tests "${patches[@]}" -- -D warnings
}

kernels() {
    KERNEL_CXXFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize=pointer-overflow" \
        cargo test --release --workspace --test gpu
    local source=$work/kernels.metal.cpp
    {
        for file in prelude.metal functions.h elementwise.h; do echo "#include \"$file\""; done
        for name in $(names); do
            printf '#define FUNCTION %s\n#include "activation.metal"\n#undef FUNCTION\n' "$name"
        done
        printf '#undef KERNELS\n#include "parametric.h"\n#include "parametric.metal"\n'
    } >"$source"
    clang++ -std=c++17 -fsyntax-only -w -DMSL_ADDRESS_SPACES \
        -Xclang -fallow-half-arguments-and-returns -Xclang -cl-single-precision-constant \
        -I tests/gpu/shim -I "$sources" "$source"
    echo "the Metal kernels keep their address spaces"
}

registers() {
    local capability=${CUDA_COMPUTE_CAP:-90} ptx=$work/kernels.ptx
    echo "kernel registers stack spilled_stores spilled_loads (sm_$capability)"
    for name in $(names) parametric; do
        local source=activation.cu
        [ "$name" = parametric ] && source=parametric.cu
        "${NVCC:-nvcc}" -ptx -O3 -std=c++17 -arch="compute_75" -DFUNCTION="$name" \
            "$sources/$source" -o "$ptx"
        ptxas -v -arch="sm_$capability" "$ptx" -o /dev/null 2>&1 | awk '
            /Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2] }
            /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
            / Used [0-9]+ registers/ {
                for (i = 1; i <= NF; i++) if ($i == "Used") print kernel, $(i + 1), stack, stores, loads
            }'
    done
}

if [ $# -eq 0 ]; then
    set -- cuda metal
    command -v clang++ >/dev/null && set -- "$@" kernels
    command -v ptxas >/dev/null && set -- "$@" registers
fi
for check in "$@"; do
    case $check in
    cuda | metal | kernels | registers) ("$check") ;;
    *) echo "no check '$check': cuda, metal, kernels or registers" >&2 && exit 2 ;;
    esac
done
