#!/usr/bin/env bash
# All that a machine with a GPU can show, in one command:
#
#   tests/gpu.sh [cuda|metal]
#
# The tests of all ops on the GPU, a network trained on it, and Mish in f32, f16 and bf16 beside a
# copy and candle-nn's composition; on CUDA beside PyTorch too, where Python has it. Without an
# argument the backend is Metal on a Mac and CUDA elsewhere. ELEMENTS sets the size of what is
# measured (2^28 by default: 1 GiB of f32, and there are several).
set -euo pipefail
cd "$(dirname "$0")/.."

backend=${1:-$([ "$(uname)" = Darwin ] && echo metal || echo cuda)}
case $backend in
cuda | metal) ;;
*) echo "usage: tests/gpu.sh [cuda|metal]" >&2 && exit 2 ;;
esac
elements=${ELEMENTS:-268435456}

step() {
    echo "--- $*"
    "$@"
}

step cargo test --release --workspace --features "$backend" --test ops "$backend"
step cargo test --release --workspace --features "$backend" --test gpu
step cargo build --release --workspace --features "$backend" --bins
mish=target/release/mish
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
step "$mish" train resnet20 --device "$backend" --dataset synthetic --epochs 1 --output "$folder/run"
step "$mish" eval --weights "$folder/run/best.safetensors" --device "$backend"
for dtype in f32 f16 bf16; do
    step "$mish" bench mish --device "$backend" --dtype "$dtype" --shape "$elements" --rounds 20
done
if [ "$backend" = cuda ] && python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    for dtype in float32 float16 bfloat16; do
        step python3 tests/reference/bench_torch.py mish --device cuda --dtype "$dtype" --shape "$elements"
    done
else
    echo "without PyTorch on CUDA there is nothing to compare with"
fi
