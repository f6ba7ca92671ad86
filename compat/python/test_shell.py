"""The prompt of `doorkeeper zk`, typed at on a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest
from servers import WORK, Doorkeeper

DOORKEEPER = os.environ.get("DOORKEEPER") or WORK.parent / "release" / "doorkeeper"
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])")
UP, TAB, CTRL_C, CTRL_D = "\x1b[A", "\t", "\x03", "\x04"


class Terminal:
    def __init__(self, server, home):
        ours, theirs = pty.openpty()
        self.file, self.seen = ours, ""
        self.process = subprocess.Popen(
            [DOORKEEPER, "zk", "--server", server.coordinator], stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm", "HOME": str(home)}, start_new_session=True,
            # Without a controlling terminal, Ctrl-C would reach nobody.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.prompt = f"{server.coordinator}> "
        self.until(self.prompt)

    def read(self, seconds):
        """Whether something more is shown within these seconds."""
        ready, _, _ = select.select([self.file], [], [], seconds)
        if ready:
            self.seen = ESCAPES.sub("", self.seen + os.read(self.file, 4096).decode())
        return bool(ready)

    def shows(self, text):
        while text not in self.seen and self.read(0.2):
            pass
        return text in self.seen

    def until(self, text):
        """What the terminal shows up to this text, without what only steers it."""
        while text not in self.seen:
            assert self.read(60), f"{text!r} does not come after {self.seen!r}"
        shown, self.seen = self.seen.split(text, 1)
        return shown

    def type(self, keys):
        os.write(self.file, keys.encode())

    def line(self, keys, answer="\n"):
        """Types a line, which is answered so, and waits for the next prompt."""
        self.type(keys + "\r")
        self.until(answer)
        self.until(self.prompt)

    def ends(self):
        try:
            while os.read(self.file, 4096):
                pass
        except OSError:
            pass  # How a pseudo-terminal says that nobody holds its other end.
        assert self.process.wait(60) == 0
        os.close(self.file)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Doorkeeper(tmp_path_factory.mktemp("shell")) as server:
        yield server


def test_commands_and_paths_are_completed(server, tmp_path):
    terminal = Terminal(server, tmp_path)
    terminal.line("create /completed here", "/completed\r\n")
    terminal.type("getA" + TAB)
    terminal.until("getAcl")
    terminal.line(" /compl" + TAB, "world:anyone:cdrwa\r\n")
    terminal.line("get /brokers/i" + TAB + "/0", "# broker 0, registered ")
    terminal.type(CTRL_D)
    terminal.ends()


def test_errors_and_interrupts_leave_the_prompt(server, tmp_path):
    terminal = Terminal(server, tmp_path)
    terminal.line("get /nowhere", "/nowhere: node not exists\r\n")
    terminal.line("set '/open", "a quote that is not closed\r\n")
    terminal.type("half a line" + CTRL_C)
    terminal.until(terminal.prompt)
    terminal.type("watch /brokers\r")
    # Until the watch is there, nobody sees what happens.
    script = "create /brokers/seen\ndelete /brokers/seen\n"
    deadline = time.monotonic() + 60
    while not terminal.shows("NodeCreated /brokers/seen (zxid 0x"):
        assert time.monotonic() < deadline
        command = [DOORKEEPER, "zk", "--server", server.coordinator]
        subprocess.run(command, input=script.encode(), capture_output=True, timeout=60, check=True)
    terminal.type(CTRL_C)
    terminal.until(terminal.prompt)
    terminal.type("quit\r")
    terminal.ends()


def test_history_is_kept_without_passwords(server, tmp_path):
    terminal = Terminal(server, tmp_path)
    terminal.line("addauth digest me:secret")
    terminal.line("create -e /remembered first", "/remembered\r\n")
    terminal.type("quit\r")
    terminal.ends()
    kept = (tmp_path / ".doorkeeper_zk_history").read_text()
    assert "create -e /remembered first" in kept and "secret" not in kept
    terminal = Terminal(server, tmp_path)
    terminal.line(UP + UP, "/remembered\r\n")  # The line before "quit", executed again.
    terminal.type(CTRL_D)
    terminal.ends()
