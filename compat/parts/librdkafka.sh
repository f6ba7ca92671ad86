#!/usr/bin/env bash
# confluent-kafka-python: every codec with and without idempotence, long poll, offsets, admin
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need_doorkeeper
python_tests test_librdkafka.py
