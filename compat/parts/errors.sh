#!/usr/bin/env bash
# Answers to unusual requests, field by field beside Kafka 3.9.1 in ZooKeeper mode
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_errors.py
