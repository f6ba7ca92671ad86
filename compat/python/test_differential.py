"""Random scripts on Apache ZooKeeper 3.9.4 and on doorkeeper: see differential.py, which reproduces a seed."""

import os

from differential import Pair

FIRST = int(os.environ.get("COMPAT_SEED", "1"))
COUNT = 10_000 if os.environ.get("COMPAT_LONG") else 300


def test_random_scripts(folder):
    with Pair(folder, against_apache=os.environ.get("COMPAT_AGAINST") == "apache") as pair:
        for seed, found in pair.differences(range(FIRST, FIRST + COUNT)):
            raise AssertionError(f"seed {seed}, {found}\n`python differential.py {seed} --shrink` shows the fewest steps to it")
