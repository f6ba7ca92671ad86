#!/usr/bin/env bash
# kazoo's own test suite, whose harness starts the servers itself: restarts, TLS and SASL too
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need python:kazoo-suite ${COMPAT_LONG:+maven:zookeeper-3.9.4}
need_doorkeeper
python_tests test_kazoo_suite.py
