#!/usr/bin/env bash
# Kafka's migration from ZooKeeper to KRaft, with our coordinator in ZooKeeper's place
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1
need_doorkeeper
python_tests test_kraft_migration.py
