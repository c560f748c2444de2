"""What a transaction and the manager that opened it need of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wellwired.errors import WriteError
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._ledger import Ledger

__all__ = ["Admits", "Tell"]

Tell = Callable[[Ledger, WriteError | None, WriteError | None], tuple[str, ...]]
"""Told how a transaction ended: its requests, what became of them, and the error of the transaction itself."""


class Admits(Protocol):
    """What a transaction needs of its manager."""

    def admit(self, request: WriteRequest, began: float, /) -> WriteOperation:
        """Validates a request as for a write by itself; raises a `WriteError`, of which the observers have been told.

        Args:
            request: as it came from the caller.
            began: when, in seconds of the manager's clock.
        """
        ...

    def refuse(self, request: WriteRequest, error: WriteError, began: float, /) -> WriteError:
        """Tells the observers of a request that was refused, and returns the error, its facts filled in."""
        ...

    def lead(self, operation: WriteOperation, /) -> WriteResult[Any]:
        """Leads a write through the middleware to the innermost open transaction of its writer."""
        ...
