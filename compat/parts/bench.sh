#!/usr/bin/env bash
# The benchmark's smoke mode: every row yields right answers from doorkeeper and from its peer
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:kafka-3.9.1 maven:zookeeper-3.9.4
need_doorkeeper
check "every row answers" bash "$COMPAT/bench" --smoke
