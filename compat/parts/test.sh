#!/usr/bin/env bash
# The project's own tests: unit, property and whole-process
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need rust
check "cargo test" cargo test --locked --workspace --manifest-path "$ROOT/Cargo.toml"
