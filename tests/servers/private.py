"""A server of the test's own, which may be killed, paused, stopped and started again on the same port and data.

Its process is signalled by its own id and by those of its descendants, never by a name. A small shell process
watches over each one: if the test run itself is killed, it ends the server and removes its files.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO

from tests.servers.recipes import KINDS, Recipe, owner

__all__ = ["PrivateServer", "ServerFailed", "free_port"]

_START_SECONDS = 40.0
# A line is the id to end when our side of the pipe closes; an empty one means there is nothing to end.
_WATCH = 'while read -r line; do pid=$line; done; [ -z "$pid" ] || kill -9 "$pid"; rm -rf -- "$1"'


class ServerFailed(Exception):  # noqa: N818 - what became of the server
    """A private server did not come up; the text ends with its log."""


def free_port() -> int:
    """A loopback port that nobody listens on, below the range that outgoing connections are given."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def descendants(pid: int) -> list[int]:
    """The processes below one, parents first."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found = list(parents.get(pid, ()))
    for child in found:
        found.extend(parents.get(child, ()))
    return found


def state(pid: int) -> str:
    """The letter that the system gives a process: T stopped, Z ended and waiting for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


class PrivateServer:
    """One running server in a temporary directory; not for use by several threads at once.

    Args:
        kind: "postgresql", "mariadb" or "redis".
        template: a directory of initialised data to copy, which is faster than initialising anew.
        settings: the server's own options by name, such as ``{"max_connections": "3"}``.
    """

    def __init__(self, kind: str, *, template: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.recipe: Recipe = KINDS[kind]
        self.home = Path(tempfile.mkdtemp(prefix=f"ww-{kind[:2]}-"))
        self.data = self.home / "d"
        self.port = free_port()
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[int] = []
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "watch", str(self.home)], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._prepare(template)
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Where it answers; the same after a restart."""
        return self.recipe.url(self.port)

    @property
    def pid(self) -> int:
        """The id of its main process; raises if it does not run."""
        if self._process is None:
            raise ServerFailed(f"the private {self.recipe.kind} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its main process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The last of what it printed."""
        path = self.home / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def start(self) -> None:
        """Starts it on its port and data and returns once it answers; does nothing if it runs."""
        if self.running:
            return
        command = self.recipe.command(self.data, self.port, self._settings)
        with (self.home / "log").open("ab") as log:
            self._process = self._spawn(command, log)
        self._tell(str(self._process.pid))
        self._wait()

    def stop(self) -> None:
        """Shuts it down in good order and waits for its end; its data stays."""
        self._end(self.recipe.stop_signal)

    def kill(self) -> None:
        """Ends it and its descendants with SIGKILL; its data stays as the moment left it."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freezes it with SIGSTOP, and returns once it is frozen: it holds its connections, and answers none.

        The kernel still accepts new ones for it.
        """
        # The main process first: once it is stopped it has no more children that we would miss.
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = descendants(self.pid)
        for pid in self._paused:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        # A signal is delivered when its process next runs: until then it may still answer.
        until = monotonic() + _START_SECONDS
        while any(state(pid) not in {"T", "Z", "gone"} for pid in (self.pid, *self._paused)):
            if monotonic() > until:
                raise ServerFailed(f"the private {self.recipe.kind} would not freeze")

    def resume(self) -> None:
        """Lets it go on where `pause` froze it."""
        for pid in (*self._paused, self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._paused = []

    def close(self) -> None:
        """Ends it for good and removes its files."""
        if self.running:
            self.kill()
        if self._watch.poll() is None:
            self._watch.communicate()  # closes the pipe: the watcher removes the files and ends
        shutil.rmtree(self.home, ignore_errors=True)

    def _prepare(self, template: Path | None) -> None:
        self.home.chmod(0o755)
        if template is None:
            self.data.mkdir()
            self.recipe.initialise(self.data)
        else:
            # A thousand small files, with their owner: cp takes a fifth of the time of shutil.
            subprocess.run(["cp", "-a", str(template), str(self.data)], check=True, stdin=subprocess.DEVNULL)

    @property
    def _user(self) -> str | None:
        return owner() if self.recipe.kind == "postgresql" else None

    def _spawn(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        user = self._user
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.data,
            user=user,
            extra_groups=None if user is None else [],
            start_new_session=True,
        )

    def _wait(self) -> None:
        assert self._process is not None
        until = monotonic() + _START_SECONDS
        while True:
            try:
                self.recipe.ping(self.url)
            except Exception as error:  # each driver has its own words for "not yet"
                if self._process.poll() is not None or monotonic() > until:
                    raise ServerFailed(f"the private {self.recipe.kind} did not come up:\n{self.log}") from error
            else:
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.03)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            family = descendants(self.pid) if number is signal.SIGKILL else []
            for pid in (self.pid, *family):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            self.resume()  # a stopped process handles no other signal
        self._process.wait(_START_SECONDS)
        self._process = None
        self._tell("")

    def _tell(self, line: str) -> None:
        if self._watch.stdin is not None and self._watch.poll() is None:
            self._watch.stdin.write(f"{line}\n".encode())
            self._watch.stdin.flush()
