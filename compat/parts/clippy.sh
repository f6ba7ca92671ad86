#!/usr/bin/env bash
# clippy, with every warning an error
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need rust
check "cargo clippy" cargo clippy --locked --workspace --all-targets --manifest-path "$ROOT/Cargo.toml" -- -D warnings
