#!/usr/bin/env bash
# What many clients saw of a few znodes, through kills, is linearizable; and the checker that says so can refuse
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
python_tests test_history.py
