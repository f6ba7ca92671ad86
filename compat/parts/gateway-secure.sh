#!/usr/bin/env bash
# Gateways before a Kafka 3.9.1 broker with logins, TLS and ACLs: what users see, and how they fail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need go maven:kafka-3.9.1 maven:kafka-4.1.0 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_gateway_secure.py
