# `just` lists the habits. Every command shares one build profile.

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

# All tests; set CIFAR100_DIR for those on the real data set.
test *ARGS:
    cargo test --release --workspace {{ARGS}}

# Mish beside its peers, then the criterion benches.
bench *ARGS:
    cargo run --release -- bench mish
    cargo bench --workspace {{ARGS}}

# Everything that has to pass before a change lands.
ci:
    .ci/run
