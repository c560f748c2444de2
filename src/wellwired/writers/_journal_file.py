"""A file that only grows by whole lines, whoever writes to it, and that a crash can at most leave with a torn last one.

Each addition is one write at the end, under a lock between processes, followed by fsync; a new file's folder is synced
too. Where the last line is torn, because a process or the machine died in the middle of it, the next addition begins
with a line end. A full disk takes nothing of an addition: what it had taken is cut off again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wellwired.clock import SYSTEM, Deadline

if sys.platform != "win32":
    import fcntl

__all__ = ["JournalFile", "held"]

_NAP = 0.01


class JournalFile:
    """An open file; for one thread at a time. It is the owner's only, because it holds payloads.

    Args:
        path: where.
        create: whether to make it if it is not there.

    Raises:
        OSError: it cannot be opened.
    """

    fd: int = -1

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | (os.O_CREAT if create else 0)
        self.fd = os.open(path, flags, 0o600)
        if create and os.fstat(self.fd).st_size == 0:
            _sync_folder(path.parent)

    @property
    def moved(self) -> bool:
        """Whether its path leads to another file now, or to none: a log rotation has taken it away."""
        try:
            there, here = self.path.stat(), os.fstat(self.fd)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def append(self, data: bytes, deadline: Deadline) -> bool:
        """Adds whole lines, durably.

        Args:
            data: ended by a line end.
            deadline: until when to wait for others who write.

        Returns:
            False if the file was moved away while it was waited for, and nothing was added.

        Raises:
            OSError: they could not be added, and nothing of them is there.
            TimeoutError: others wrote for too long.
        """
        with held(self.fd, deadline):
            if self.moved:
                return False
            self._add(data)
        return True

    def amend(self, data: bytes, deadline: Deadline) -> None:
        """Adds whole lines to this very file, wherever it was moved; otherwise as `append`."""
        with held(self.fd, deadline):
            self._add(data)

    def read(self) -> bytes:
        """All that is there."""
        with open(self.fd, "rb", closefd=False) as stream:
            stream.seek(0)
            return stream.read()

    def close(self) -> None:
        """Closes it; it is closed, too, when nobody holds it any more."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _add(self, data: bytes) -> None:
        size = os.fstat(self.fd).st_size
        if size and os.pread(self.fd, 1, size - 1) != b"\n":
            data = b"\n" + data
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.fd, view) :]
        except BaseException:
            os.ftruncate(self.fd, size)
            raise
        os.fsync(self.fd)


@contextmanager
def held(fd: int, deadline: Deadline) -> Iterator[None]:
    """Holds a file's lock between processes while it is entered.

    Args:
        fd: the file's descriptor.
        deadline: until when to wait for it.

    Raises:
        TimeoutError: another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if deadline.passed:
                raise TimeoutError("another process holds the lock of the file") from None
            SYSTEM.sleep(min(_NAP, deadline.left()))
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
