#!/usr/bin/env bash
# Gateways and brokers at an Apache ZooKeeper 3.9.4 that demands a login and TLS; ACLs of znodes as Kafka 3.9.1 makes them
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4 python:kazoo-suite
need_doorkeeper
python_tests test_secured_zookeeper.py
