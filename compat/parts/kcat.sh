#!/usr/bin/env bash
# kcat of the distribution: metadata, every codec with and without idempotence, offsets
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:kcat
need_doorkeeper
python_tests test_kcat.py
