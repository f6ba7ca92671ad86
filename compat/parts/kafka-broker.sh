#!/usr/bin/env bash
# An unmodified Kafka 3.9.1 broker on our coordinator, and beside a broker of ours
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1
need_doorkeeper
python_tests test_kafka_broker.py
