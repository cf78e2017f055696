# `just` lists the recipes. Every command uses one build profile.

default:
    @just --list

# Format everything.
fmt:
    cargo fmt --all

# Formatting, lints and documentation, as CI checks them.
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# All tests. Set CIFAR100_DIR and MNIST_DIR for the tests on real data sets.
test *ARGS:
    cargo test --release --workspace {{ARGS}}

# Imports, prose, licences and duplicate versions.
architecture:
    cargo test --release --workspace --test architecture

# Run an example: op, train, pretrained or swap.
example NAME:
    cargo build --release --workspace --examples
    target/release/examples/{{NAME}}

# Mish compared with other activations, then the criterion benches.
bench *ARGS:
    cargo run --release -- bench mish
    cargo bench --workspace {{ARGS}}

# Everything that must pass before a change lands.
ci:
    .ci/run
