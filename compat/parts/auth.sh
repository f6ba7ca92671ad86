#!/usr/bin/env bash
# Who may do what, beside Apache ZooKeeper 3.9.4: SASL of kazoo and of ZooKeeper's own client, ACLs, audit logs
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-3.9.4 python:kazoo-suite
need_doorkeeper
PYTHON=$WORK/venv-kazoo-suite/bin/python python_tests test_auth.py
