#!/usr/bin/env bash
# Kafka's own command line tools, of 3.9.1 and of 4.1.0
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:kafka-4.1.0
need_doorkeeper
python_tests test_console.py
