#!/usr/bin/env bash
# A gateway before a Kafka 3.9.1 broker with AclAuthorizer: what users may see, while ACLs change
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_gateway_acls.py
