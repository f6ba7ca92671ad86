#!/usr/bin/env bash
# kill -9 under load, 20 rounds for znodes and 20 for records: every acknowledged write is there
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
python_tests test_crash.py
