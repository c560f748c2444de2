"""A gunicorn of the test's own: two forked workers with four threads each, on a free port, whose workers may be killed.

Processes are signalled by their ids, and those are read from the kernel's list of the master's children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.examples.sockets import Socket, held
from tests.examples.waiting import until
from tests.servers.private import descendants, free_port, state

__all__ = ["Gunicorn"]

ROOT = Path(__file__).parents[2]


class Gunicorn:
    """One running gunicorn; a context manager that ends it.

    Args:
        app: the WSGI application, as ``module:name``; "" for what a `gunicorn.conf.py` in `home` names.
        environ: the environment of the application, beside what Python needs.
        home: a folder for its log, its temporary files and whatever it calls its home.
        paths: folders to import from, beside the test's own.
        preload: whether the application is loaded before the fork.
        workers: how many processes.
        threads: how many threads each.
    """

    def __init__(
        self,
        app: str,
        *,
        environ: Mapping[str, str],
        home: Path,
        paths: Collection[Path] = (),
        preload: bool = False,
        workers: int = 2,
        threads: int = 4,
    ) -> None:
        self.port, self.size = free_port(), workers
        self._log = home / f"gunicorn-{self.port}.log"
        words = ["--bind", f"127.0.0.1:{self.port}", "--workers", str(workers), "--threads", str(threads)]
        words += ["--worker-class", "gthread", "--graceful-timeout", "5", "--worker-tmp-dir", str(home)]
        words += ["--preload"] if preload else []
        source = [str(path) for path in (*paths, ROOT, *map(Path, sys.path)) if path != Path()]
        process_environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "PYTHONPATH": os.pathsep.join(source)}
        with self._log.open("wb") as log:
            self._master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *words, *filter(None, [app])],
                env=process_environ | dict(environ),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        try:
            until(self._serves, "gunicorn serves")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"gunicorn's log ends with:\n{self.log[-3000:]}")
        self.kill()

    @property
    def master(self) -> int:
        """The id of the process that forks."""
        return self._master.pid

    @property
    def log(self) -> str:
        """All that it and its workers have printed."""
        return self._log.read_text(errors="replace")

    def workers(self) -> set[int]:
        """The ids of the workers that are alive."""
        return {pid for pid in descendants(self.master) if state(pid) not in {"Z", "gone"}}

    def replace(self, number: signal.Signals) -> tuple[int, int]:
        """Ends one worker by a signal, and returns when it is gone and another has taken its place.

        Returns:
            The ids of the old one and of the new one.
        """
        before = self.workers()
        victim = min(before)
        os.kill(victim, number)
        until(lambda: victim not in self.workers(), "the worker has ended")
        new = until(lambda: self.workers() - before, "another worker has taken its place")
        return victim, min(new)

    def holders(self, remotes: Collection[int]) -> dict[int, frozenset[Socket]]:
        """Which connections to these ports the master and each worker hold."""
        return {pid: held(pid, remotes) for pid in (self.master, *self.workers())}

    def stop(self) -> None:
        """Ends it in good order, as its service manager would, and waits for that."""
        self._master.send_signal(signal.SIGTERM)
        self._master.wait(20)

    def kill(self) -> None:
        """Ends what is left of it."""
        for pid in (self.master, *descendants(self.master)) if self._master.poll() is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._master.wait(20)

    def _serves(self) -> bool:
        assert self._master.poll() is None, "gunicorn has ended"
        if len(self.workers()) < self.size:
            return False
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/alive")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
