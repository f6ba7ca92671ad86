#!/usr/bin/env bash
# Every Rust file is formatted as rustfmt formats it
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need rust
check "cargo fmt" cargo fmt --all --check --manifest-path "$ROOT/Cargo.toml"
