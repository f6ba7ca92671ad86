#!/usr/bin/env bash
# Gateways before Kafka 3.9.1 on Apache ZooKeepers 3.5.10 and 3.4.14, which lack multi reads and persistent watches
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.5.10 maven:zookeeper-3.4.14
need_doorkeeper
python_tests test_old_zookeeper.py
