#!/usr/bin/env bash
# Metadata versions 0-13, field by field beside Kafka 3.9.1 in ZooKeeper mode
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_metadata.py
