#!/usr/bin/env bash
# Gateways before three Kafka 3.9.1 brokers on three Apache ZooKeepers: answers, clients, the relay, outages
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:kcat go go:sarama node maven:kafka-3.9.1 maven:kafka-4.1.0 maven:zookeeper-3.9.4
need_doorkeeper
python_tests test_gateway.py test_gateway_clients.py test_gateway_outages.py
