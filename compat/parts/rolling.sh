#!/usr/bin/env bash
# ZooKeeper, doorkeeper, ZooKeeper on one directory, with a Kafka broker and kazoo that go on all the while
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_rolling.py
