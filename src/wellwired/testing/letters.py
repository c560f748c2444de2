"""Dead letters in a list: for tests of what an application does when a write fails for good."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from wellwired.errors import ErrorCode
from wellwired.writers.dead_letters import DEFAULT_CODES, Letter

__all__ = ["KeptLetters"]


class KeptLetters:
    """A sink for dead letters that keeps them in this process; safe to share by threads.

    Args:
        codes: of which errors it wants letters.
    """

    def __init__(self, *, codes: Collection[ErrorCode] = DEFAULT_CODES) -> None:
        self.codes = frozenset(codes)
        self._kept: list[Letter] = []
        self._lock = threading.Lock()

    @property
    def letters(self) -> tuple[Letter, ...]:
        """What has been kept, the oldest first."""
        return tuple(self._kept)

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Keeps letters, all or none."""
        with self._lock:
            self._kept.extend(letters)
