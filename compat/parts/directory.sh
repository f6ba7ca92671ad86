#!/usr/bin/env bash
# The data directory, handed over both ways between doorkeeper and Apache ZooKeeper 3.9.4
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_directory.py
