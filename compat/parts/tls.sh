#!/usr/bin/env bash
# TLS on the coordinator: stores of keytool and openssl, Java's client and kazoo, beside ZooKeeper 3.9.4
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:openssl maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_tls.py
