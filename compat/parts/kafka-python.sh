#!/usr/bin/env bash
# kafka-python: every codec with and without idempotence, admin
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
python_tests test_kafka_python.py
