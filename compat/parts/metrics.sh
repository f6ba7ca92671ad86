#!/usr/bin/env bash
# Prometheus of the distribution scrapes a doorkeeper under load: dashboard, alerts, configuration
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need debian:prometheus
need_doorkeeper
check "alert rules" promtool check rules "$ROOT/grafana/alerts.yml"
check "alert rules fire" promtool test rules "$ROOT/grafana/alerts_test.yml"
check "prometheus configuration" promtool check config "$ROOT/grafana/prometheus.yml"
python_tests test_metrics.py
