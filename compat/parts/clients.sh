#!/usr/bin/env bash
# ZooKeeper clients in other languages: Curator's recipes, a failover controller, C, Go
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need java_clients c_client go:zookeeper
need_doorkeeper
python_tests test_clients.py
