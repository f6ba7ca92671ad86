#!/usr/bin/env bash
# 300 random scripts (10,000 in the long form) on Apache ZooKeeper 3.9.4 and on doorkeeper, compared answer by answer
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_differential.py
