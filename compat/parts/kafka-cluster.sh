#!/usr/bin/env bash
# Three unmodified Kafka 3.9.1 brokers on our coordinator: kills, reassignment, ACLs, users, no record lost
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1
need_doorkeeper
python_tests test_kafka_cluster.py
