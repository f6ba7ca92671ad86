#!/usr/bin/env bash
# Compaction beside Kafka 3.9.1's: the same log, cleaned by both
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1
need_doorkeeper
python_tests test_compaction.py
