"""The journal of a container: which resources are open in this process, in the order in which they were opened.

It is written by the resources themselves, whoever opened them and when, so that what a request opened at first use is
closed by `stop()` like everything else.
"""

from __future__ import annotations

import os
import threading
import warnings
from typing import Any

from wellwired.containers._direct import label

__all__ = ["Journal"]


class Journal:
    """Entries of open resources; safe from many threads, and warns if it is dropped with entries in it."""

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def add(self, resource: Any) -> None:
        """Notes that `resource` was opened last of all so far."""
        with self._lock:
            if resource not in self._entries:
                self._entries.append(resource)

    def remove(self, resource: Any) -> None:
        """Strikes `resource` out, if it is there."""
        with self._lock:
            if resource in self._entries:
                self._entries.remove(resource)

    def entries(self) -> tuple[Any, ...]:
        """What is open, in the order of opening."""
        with self._lock:
            return tuple(self._entries)

    def renew(self) -> None:
        """In a forked child: a new lock, and the child's own from now on."""
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __del__(self) -> None:
        # The last words of a container: its user forgot stop(). A child has nothing to say about its parent's.
        if self._entries and self._pid == os.getpid():
            names = ", ".join(label(resource) for resource in self._entries)
            warnings.warn(
                f"a container was dropped while open: {names}; stop it, or use it as a context manager",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )
