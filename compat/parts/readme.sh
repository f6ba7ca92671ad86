#!/usr/bin/env bash
# The first session of README.md, executed
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:kcat debian:curl maven:kafka-3.9.1 maven:kafka-4.1.0
need_doorkeeper
python_tests test_readme.py
