#!/usr/bin/env bash
# The data directory, handed over both ways: Apache ZooKeeper 3.9.4 and older, an ensemble's member, power cuts, depth
source "$(dirname "${BASH_SOURCE[0]}")/../lib/frame.sh"
need maven:zookeeper-3.9.4 maven:zookeeper-3.4.14 maven:zookeeper-3.5.10 maven:zookeeper-3.6.4
need_doorkeeper
python_tests test_directory.py test_old_directories.py test_members.py test_cut_directories.py test_depth.py
