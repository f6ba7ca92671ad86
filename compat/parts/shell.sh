#!/usr/bin/env bash
# The prompt of `doorkeeper zk` on a terminal: completion, history, interrupts
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
python_tests test_shell.py
