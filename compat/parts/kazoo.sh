#!/usr/bin/env bash
# The ZooKeeper protocol beside Apache ZooKeeper 3.9.4: raw, through kazoo, and kazoo's recipes
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_zookeeper.py test_operations.py test_kazoo.py
