#!/usr/bin/env bash
# franz-go: every codec with and without idempotence, admin
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need go
need_doorkeeper
python_tests test_franz_go.py
