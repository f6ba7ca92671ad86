#!/usr/bin/env bash
# Four-letter words, AdminServer and metric names beside Apache ZooKeeper 3.9.4; the systemd unit
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-http-3.9.4
need_doorkeeper
if command -v systemd-analyze >/dev/null; then
  # The binary of the unit is not installed here: any other stands in for it.
  unit=$(mktemp -d)
  sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$ROOT/contrib/systemd/doorkeeper.service" >"$unit/doorkeeper.service"
  check "systemd unit" systemd-analyze verify "$unit/doorkeeper.service"
  rm -r "$unit"
fi
python_tests test_operate.py
