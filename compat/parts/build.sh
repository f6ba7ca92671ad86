#!/usr/bin/env bash
# The release binary that all later parts run
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
check "version" "$DOORKEEPER" --version
