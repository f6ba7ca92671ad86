"""doorkeeper takes over from an ensemble of three Apache ZooKeepers 3.9.4, and gives back.

In the right order, the member that doorkeeper wrote to first, all is there. In the wrong one that member
refuses to join the others, and nothing of it is lost.
"""

import contextlib
import re
import shutil

from directories import data, ensemble, inspect, node, start_together
from jute import EPHEMERAL, create
from servers import wait_for
from test_directory import LONG_TIMEOUT, client, compare, tree, write_round

CONFIG = "/zookeeper/config"


def without_config(nodes):
    """The ensemble writes its configuration by itself when it comes back."""
    return {path: found for path, found in nodes.items() if path != CONFIG}


def last_zxid(member):
    return int(inspect(member.data_dir)["lastZxid"], 16)


@contextlib.contextmanager
def started(members):
    try:
        start_together(members)
        yield members
    finally:
        for member in members:
            member.kill()


def test_there_and_back(folder):
    folder /= "members"
    members = ensemble(folder)
    with started(members):
        with client(members[0], timeout=LONG_TIMEOUT) as session:
            identity = session.session
            write_round(session)
            nodes = tree(session)
            assert b"server.1=" in node(session, CONFIG)[0]
        for member in members:
            with client(member) as session:
                session.do("sync", b"\0\0\0\1/")
                assert session.error("exists", b"\0\0\0\1/\0") == 0
    # The whole ensemble is stopped; the member with the last zxid is taken over.
    member = max(members, key=last_zxid)
    others = [other for other in members if other is not member]
    epoch = inspect(member.data_dir)["currentEpoch"]

    refusal = member.doorkeeper().spawn()
    assert refusal.wait() == 1
    assert "doorkeeper.take.over.member=true" in refusal.log_of_this_start()
    assert inspect(member.data_dir)["currentEpoch"] == epoch, "nothing was touched"

    with member.doorkeeper(**{"doorkeeper.take.over.member": "true"}) as server:
        with client(server, session=identity, timeout=LONG_TIMEOUT) as session:
            assert session.session == identity, "the session goes on"
            found = tree(session)
            compare(without_config(nodes), without_config(found))
            assert found[CONFIG][0] == b"", "clients that follow it would go to servers that are gone"
            write_round(session)
            session.do("create", create("/taken-over", b"", EPHEMERAL))
            nodes = tree(session)
        assert server.stop() == 0
    taken = inspect(member.data_dir)
    assert taken["currentEpoch"] == taken["acceptedEpoch"] == epoch + 1_000
    assert int(taken["lastZxid"], 16) >> 32 == epoch + 1_000
    assert taken["writtenLastBy"] == "doorkeeper"
    assert "whole, and ZooKeeper" in data("verify", member.data_dir, "--for-zookeeper")

    # A stop and a start of ours is no take-over.
    with member.doorkeeper(**{"doorkeeper.take.over.member": "true"}) as server:
        with client(server, session=identity, timeout=LONG_TIMEOUT) as session:
            compare(without_config(nodes), without_config(tree(session)))
            write_round(session)
            nodes = tree(session)
        server.kill()
    assert inspect(member.data_dir)["currentEpoch"] == epoch + 1_000

    # The wrong order: the two others come back without it, and write.
    with started(others):
        with client(others[0]) as session:
            session.do("create", create("/without-it", b""))
            assert "/taken-over" not in tree(session)
        before = last_zxid(member)
        member.spawn()
        try:
            wait_for("the member refuses", lambda: re.search(r"epoch.* is less than .*epoch", member.log_of_this_start()), 120, 0.2)
            assert member.mode() not in ("leader", "follower")
        finally:
            member.kill()
        assert last_zxid(member) >= before, "nothing of it is lost"

    # The right order: this member first, one more for a quorum, then the rest.
    with started([member, others[0]]):
        with client(member, session=identity, timeout=LONG_TIMEOUT) as session:
            assert session.session == identity, "the session goes on"
            compare(without_config(nodes), without_config(tree(session)))
            assert b"server.1=" in node(session, CONFIG)[0], "the ensemble's own again"
            write_round(session)
        with started([others[1]]):
            with client(member, session=identity, timeout=LONG_TIMEOUT) as session:
                nodes = tree(session)
            for other in others:
                with client(other) as session:
                    session.do("sync", b"\0\0\0\1/")
                    compare(without_config(nodes), without_config(tree(session)))
    shutil.rmtree(folder)
