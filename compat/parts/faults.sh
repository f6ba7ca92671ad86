#!/usr/bin/env bash
# Power cuts, disks that fail or fill up, clocks that jump, pauses and silent clients, on the real binary
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:strace debian:e2fsprogs debian:faketime
need_doorkeeper
python_tests test_faults.py
