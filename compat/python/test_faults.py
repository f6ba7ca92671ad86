"""Faults of the machine under the real binary: power cuts, disks that fail or are full, clocks that jump, pauses.

After each of them every acknowledged write is there, the ephemerals of living sessions are, and those of dead ones
are not. What the log can't be written for stops the process, with one line that says why.
"""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import time

import pytest

import jute
from jute import EPHEMERAL, buffer, create, integer, set_data, watched
from servers import Doorkeeper, wait_for
from writers import Load

LONG = bool(os.environ.get("COMPAT_LONG"))
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# Small files and frequent snapshots, so that faults also meet their begins and ends.
SETTINGS = {"snapCount": "2000", "preAllocSize": "1024", "tickTime": "500", "maxSessionTimeout": "100000"}
NO_NODE = -101
_libc = ctypes.CDLL(None, use_errno=True)

pytestmark = pytest.mark.skipif(os.environ.get("COMPAT_AGAINST") == "apache", reason="about doorkeeper's own process")


def server_on(folder, **overrides):
    return Doorkeeper(folder, {**SETTINGS, **overrides}, roles=["coordinator"])


@contextlib.contextmanager
def mounted(folder, size, kind):
    """A file system of `size` MiB at folder/mount: "ext4" on a loop device, or "tmpfs"."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = folder / "mount"
    mount.mkdir()
    image = folder / "disk"
    if kind == "ext4":
        with open(image, "wb") as file:
            file.truncate(size << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        command = ["mount", "-o", "loop", image, mount]
    else:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}m", "doorkeeper-test", mount]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this kernel mounts nothing here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=False)
        image.unlink(missing_ok=True)


def ends_with_a_line(server, wanted):
    """The process ends by itself, not with 0, and its last words are one line that says why."""
    code = server.wait(60)
    assert code not in (0, None) and code > 0, f"exit code {code}"
    lines = [line for line in server.log_of_this_start().splitlines() if re.search(r"\bERROR\b|^doorkeeper: |can't go on", line)]
    assert lines, server.log_tail()
    assert any(re.search(wanted, line) for line in lines), lines
    assert "panicked" not in server.log_of_this_start(), server.log_tail()


def dead_session(server, path):
    """A session with an ephemeral that is never heard of again."""
    client = jute.Script(server.coordinator).connect("dead", timeout=4_000)
    client.ask("create", create(path, b"", EPHEMERAL))
    client.socket.close()


def expires(server, path):
    script = jute.Script(server.coordinator)
    client = script.connect("looks", timeout=60_000)
    wait_for(f"{path} goes with its session", lambda: client.ask("exists", watched(path))[3] == NO_NODE, 60, 0.1)
    script.close()


def test_power_cut(folder):
    """The file system is shut down under a load as by a power cut: what was not fsynced is gone."""
    folder /= "power"
    draw = random.Random(3)
    with mounted(folder, 300, "ext4") as mount, contextlib.ExitStack() as stack:
        acknowledged = 0
        for number in range(20 if LONG else 3):
            server = server_on(folder / "server", **{"doorkeeper.data.dir": str(mount / "data"), "dataDir": str(mount / "data")})
            server.start()
            stack.callback(server.kill)
            dead_session(server, f"/dead-{number}")
            load = Load(server, f"power-{number}")
            time.sleep(draw.uniform(0.3, 1.5))
            descriptor = os.open(mount, os.O_RDONLY)
            # An fdatasync that is under way while ext4's journal is aborted may end with 0 for nothing, as strace
            # shows: what it made the server acknowledge does not count. A real power cut ends the process with it.
            known = load.known()
            try:
                fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
            except OSError as error:
                server.kill()
                load.join()
                pytest.skip(f"this kernel does not shut a file system down: {error}")
            finally:
                os.close(descriptor)
            load.join()
            ends_with_a_line(server, r"log\.[0-9a-f]+")
            subprocess.run(["umount", mount], check=True)
            subprocess.run(["mount", "-o", "loop", folder / "disk", mount], check=True)
            server.start()
            acknowledged += load.check(known)
            expires(server, f"/dead-{number}")
            server.stop()
        assert acknowledged > 200, f"only {acknowledged} acknowledged creates: no load"


@contextlib.contextmanager
def injected(server, rule):
    """strace breaks the server's system calls by this rule for as long as it runs."""
    call = rule.split(":")[0]
    log = server.folder / "strace.log"
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", f"trace={call}", "-e", f"inject={rule}", "-o", log, "-p", str(server.process.pid)],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for("strace is attached", lambda: tracer.poll() is not None or log.exists() and log.stat().st_size > 0)
        if tracer.poll() is not None and "not permitted" in tracer.stderr.read():
            pytest.skip("this kernel lets nobody trace")
        yield
    finally:
        tracer.terminate()
        tracer.wait(30)


@pytest.mark.parametrize("call, error", [("fdatasync", "EIO"), ("fdatasync", "ENOSPC"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")])
def test_the_log_fails(folder, call, error):
    folder /= f"{call}-{error}"
    with server_on(folder) as server:
        dead_session(server, "/dead")
        load = Load(server, "fails")
        # strace counts the calls of each thread by itself.
        with injected(server, f"{call}:error={error}:when=20"):
            load.join()
            ends_with_a_line(server, r"log\.[0-9a-f]+.*(Input/output error|No space left)")
        server.start()
        assert load.check() > 50
        expires(server, "/dead")


def test_full_disk(folder):
    """No room for the log: the process stops; with room again, all that was acknowledged is there."""
    folder /= "full"
    with mounted(folder, 6, "tmpfs") as mount:
        data = {"doorkeeper.data.dir": str(mount / "data"), "dataDir": str(mount / "data"), "snapCount": "1000000"}
        with server_on(folder / "server", **data) as server:
            load = Load(server, "full")
            load.join()
            ends_with_a_line(server, r"log\.[0-9a-f]+.*No space left")
            subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
            server.start()
            assert load.check() > 100


def test_full_disk_under_a_snapshot(folder):
    """Only a warning: the log holds everything. With room again, a snapshot is written."""
    folder /= "snapshot"
    with mounted(folder, 1, "tmpfs") as mount:
        filler = mount / "filler"
        settings = {"dataDir": str(mount / "data"), "dataLogDir": str(folder / "log"), "snapCount": "500"}
        with server_on(folder / "server", **settings) as server:
            with contextlib.suppress(OSError), open(filler, "wb") as file:
                while True:
                    file.write(b"\0" * 4096)
                    file.flush()
            load = Load(server, "snapshot")
            wait_for("a warning", lambda: re.search(r"WARN.*snapshot", server.log_of_this_start()))
            before = load.acknowledged()
            wait_for("writes go on", lambda: load.acknowledged() > before + 500)
            snapshots = mount / "data" / "version-2"
            old = {path.name for path in snapshots.glob("snapshot.*")}
            filler.unlink()
            subprocess.run(["mount", "-o", "remount,size=128m", mount], check=True)
            wait_for("a snapshot", lambda: {path.name for path in snapshots.glob("snapshot.*")} - old, 120)
            assert server.process.poll() is None
            server.kill()
            load.join()
            server.start()
            assert load.check() > 500


def ping_forever(client, seconds, every=0.2):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = client.ask("ping")
        assert answer != "closed", "the session was expired"
        time.sleep(every)


def test_clock_jumps(folder):
    """The wall clock jumps by days, both ways: sessions live by another clock, only new stats show it."""
    library = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    assert library, "libfaketime is not installed"
    folder /= "clock"
    folder.mkdir()
    offset = folder / "offset"
    offset.write_text("+0")

    class Faked(Doorkeeper):
        def spawn(self, environment=None):
            fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
            return super().spawn({**(environment or {}), **fake})

    with Faked(folder / "server", SETTINGS, roles=["coordinator"]) as server:
        script = jute.Script(server.coordinator)
        living = script.connect("living", timeout=8_000)
        living.ask("create", create("/living", b"", EPHEMERAL))

        for number, (jump, seconds) in enumerate((("+3d", 3 * 86_400), ("-2d", -2 * 86_400), ("+0", 0))):
            offset.write_text(jump)
            raw_ctime(living, f"/time{number}", time.time() + seconds)
            dead_session(server, f"/dead{number}")
            ping_forever(living, 3)
            # Neither sooner nor later than by its own timeout, 4 s and up to two ticks.
            started = time.monotonic()
            wait_for("a dead session expires", lambda number=number: living.ask("exists", watched(f"/dead{number}"))[3] == NO_NODE, 60, 0.1)
            assert time.monotonic() - started < 30
            assert living.ask("exists", watched("/living"))[3] == 0
        script.close()


def raw_ctime(client, path, wanted):
    """Creates the node and compares its ctime with the server's faked clock, by a few minutes."""
    client.send("create2", create(path, b""))
    frame = client.receive_frame()
    reader = jute.Reader(frame)
    assert reader.unpack("iqi")[2] == 0 and reader.string() == path
    _, _, ctime, _ = reader.unpack("qqqq")
    assert abs(ctime / 1000 - wanted) < 300, f"{path} was made at {ctime}, wanted {wanted}"


def test_a_pause_longer_than_the_session_timeout(folder):
    """Stopped (SIGSTOP) for longer than its clients' timeouts: it reads what waits in the sockets before it expires
    anyone. Who has sent nothing meanwhile expires."""
    with server_on(folder / "pause") as server:
        script = jute.Script(server.coordinator)
        # Those whose connection was lost meanwhile re-attach with their first packet.
        pinging = [script.connect(f"pings {number}", timeout=4_000) for number in range(20)]
        reattaching = [script.connect(f"re-attaches {number}", timeout=4_000) for number in range(5)]
        for number, client in enumerate(pinging + reattaching):
            client.ask("create", create(f"/alive-{number}", b"", EPHEMERAL))
        watcher = script.connect("watches", timeout=60_000)
        dead_session(server, "/dead")
        for _ in range(3 if LONG else 1):
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                time.sleep(6)
                for client in pinging:
                    client.send("ping")
                for client in reattaching:
                    client.socket.close()
                waiting = [connect_without_waiting(script, client.session) for client in reattaching]
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            for client in pinging:
                assert client.read() != "closed", "its ping waited in the socket, and it was expired"
            for number, connection in enumerate(waiting):
                assert connection.receive_frame()[8:16] == jute.long(reattaching[number].session[0]), "the session was expired"
                reattaching[number] = connection
            for number in range(len(pinging + reattaching)):
                assert watcher.ask("exists", watched(f"/alive-{number}"))[3] == 0
            for client in reattaching:
                # From now on by its own pings.
                client.send("ping")
                client.receive_frame()
            if not LONG:
                break
            reattaching = []
        expires(server, "/dead")


def connect_without_waiting(script, session):
    """A connection on which the handshake is sent and its answer is not yet read."""
    client = jute.Client(script, "again", hello=False)
    identity, password = session
    client.session = session
    client.send_frame(integer(0) + jute.long(0) + integer(4_000) + jute.long(identity) + buffer(password) + b"\0")
    return client


def test_clients_that_vanish(folder):
    """Connections that stay open and say nothing more: each session ends at its own time, and only those."""
    with server_on(folder / "vanish") as server:
        script = jute.Script(server.coordinator)
        silent = [script.connect(f"silent {number}", timeout=2_000 + 500 * (number % 4)) for number in range(40)]
        for number, client in enumerate(silent):
            client.ask("create", create(f"/silent-{number}", b"", EPHEMERAL))
        living = script.connect("living", timeout=8_000)
        living.ask("create", create("/living", b"", EPHEMERAL))
        living.ask("create", create("/value", b"0"))
        for number in range(len(silent)):
            wait_for(
                f"silent-{number} expires",
                lambda number=number: living.ask("exists", watched(f"/silent-{number}"))[3] == NO_NODE,
                60,
                0.1,
            )
        for client in silent:
            assert client.read() == "closed"
        assert living.ask("setData", set_data("/value", b"1"))[3] == 0
        assert living.ask("exists", watched("/living"))[3] == 0
        script.close()
