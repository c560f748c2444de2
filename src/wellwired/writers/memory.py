"""A writer into a mapping, for tests of what writes: it keeps the promises of a real one and needs no server.

A handler is given a view of the data, on which it reads and writes like on a dict. The view becomes the data only
when the handler returns in time, all of it in one step; until then, and whenever it fails, nothing has changed. One
write runs at a time, and waiting for its turn counts against the deadline. What was written, and what was tried, is
there to be asserted; the next writes can be told to fail.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any, Final

from wellwired.clock import Deadline
from wellwired.errors import Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._forks import renew_in_child
from wellwired.writers.protocol import handler_failed

__all__ = ["MemoryView", "MemoryWriter"]

_BACKEND: Final = "memory"
_GONE: Final = object()


class MemoryWriter:
    """A `Writer` into a mapping in this process; safe to share by threads, one write at a time.

    Handlers are those for the backend ``"memory"`` or for any.

    Args:
        name: the dotted name of its target.
        targets: what else it supports.
        handlers: which handlers it knows; a `Registry` of its own if None.
        records_all: whether a type without a handler is recorded and otherwise ignored, and not refused.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        targets: Iterable[str] = (),
        handlers: Registry | None = None,
        records_all: bool = False,
    ) -> None:
        self.name = name
        self.targets: tuple[str, ...] = tuple(dict.fromkeys((name, *targets)))
        self.handlers = Registry() if handlers is None else handlers
        self._unhandled = _Recorded() if records_all else None
        self._data: dict[str, Any] = {}
        self._tried: list[WriteRequest] = []
        self._written: list[WriteRequest] = []
        self._faults: deque[tuple[Exception, bool]] = deque()
        self._turn = threading.RLock()
        renew_in_child(self)

    @property
    def data(self) -> dict[str, Any]:
        """A copy of what has been written so far, between two writes."""
        with self._turn:
            return copy.deepcopy(self._data)

    @property
    def written(self) -> tuple[WriteRequest, ...]:
        """The requests that took effect, in that order."""
        return tuple(self._written)

    @property
    def tried(self) -> tuple[WriteRequest, ...]:
        """The request of every attempt that had its turn, those that failed included."""
        return tuple(self._tried)

    def supports(self, target: str, /) -> bool:
        """Whether it writes for this target: its name or one of its `targets`."""
        return target in self.targets

    def find_handler(self, type: str, /) -> Handler | None:
        """The handler of a type, or None."""
        return self.handlers.find(type, _BACKEND) or self._unhandled

    def register_handler(self, handler: Handler, /) -> None:
        """Adds a handler; raises `RegistrationError` if its type has one already."""
        self.handlers.register(handler)

    def types(self) -> tuple[str, ...]:
        """Every type that it has a handler for, sorted."""
        return self.handlers.types(_BACKEND)

    def fail_next(self, *errors: Exception, applied: bool = False) -> None:
        """Has the next attempts fail, one with each error, in this order.

        Args:
            errors: what the attempts raise; a `WriteError` as it is, anything else as if the handler had raised it.
            applied: whether the data is changed all the same, as when the answer to a COMMIT is lost.
        """
        self._faults.extend((error, applied) for error in errors)

    def reset(self) -> None:
        """Forgets the data, the records and the failures that were ordered; handlers stay."""
        with self._turn:
            self._data = {}
            self._tried, self._written = [], []
            self._faults.clear()

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt.

        Args:
            request: a valid request.
            handler: is called with the request and a `MemoryView`.
            deadline: by when the handler must have returned.

        Returns:
            What the handler returned, as `data`.

        Raises:
            WriteTimeoutError: it did not get its turn, or the handler did not return, before the deadline.
            WriteError: as ordered by `fail_next`, or raised by the handler; anything else that the handler raised is
                a `BackendError` with the reason ``"handler"``.
        """
        if not self._turn.acquire(timeout=min(deadline.left(), threading.TIMEOUT_MAX)):
            raise _late(request, Phase.CHECKOUT)
        try:
            self._tried.append(request)
            return self._transact(request, handler, deadline)
        finally:
            self._turn.release()

    def renew(self) -> None:
        """Opens the lock in a forked child, where the thread that held it does not exist."""
        self._turn = threading.RLock()

    def __repr__(self) -> str:
        return f"MemoryWriter({self.name!r}, {len(self._written)} written)"

    def _transact(self, request: WriteRequest, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        fault, applied = self._faults.popleft() if self._faults else (None, False)
        view = MemoryView(self._data)
        try:
            if fault is not None and not applied:
                raise fault
            answer = handler.handle(request, view)
        except WriteError:
            raise
        except Exception as error:
            raise handler_failed(error, request) from error
        finally:
            view.close()
        if deadline.passed:
            raise _late(request, Phase.EXECUTE)
        view.apply()
        self._written.append(request)
        if fault is not None:
            raise fault
        return WriteResult(True, "written", answer)


class MemoryView(MutableMapping[str, Any]):
    """What a handler sees of a `MemoryWriter`: the data with its own changes, until the write is over.

    Reading a value makes a copy of it that belongs to the write, so that changing what was read in place is a change
    like any other: applied with the rest, or not at all.

    Args:
        data: what is there before the write.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._changes: dict[str, Any] = {}
        self._open = True

    def __getitem__(self, key: str) -> Any:
        changes = self._changed()
        if key not in changes and key in self._data:
            changes[key] = copy.deepcopy(self._data[key])
        value = changes.get(key, _GONE)
        if value is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._changed()[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed()[key] = _GONE

    def __contains__(self, key: object) -> bool:
        changes: dict[Any, Any] = self._changed()
        return changes[key] is not _GONE if key in changes else key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in {**self._data, **self._changed()} if key in self])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def close(self) -> None:
        """Ends the view: a handler that kept it gets an error."""
        self._open = False

    def apply(self) -> None:
        """Makes the changes in the data."""
        for key, value in self._changes.items():
            if value is _GONE:
                self._data.pop(key, None)
            else:
                self._data[key] = value

    def _changed(self) -> dict[str, Any]:
        if not self._open:
            raise RuntimeError("the write is over; a handler must not keep its connection")
        return self._changes


class _Recorded:
    type = "*"

    def handle(self, request: WriteRequest, connection: Any, /) -> None:
        """Does nothing: the request is recorded by the writer."""


def _late(request: WriteRequest, phase: Phase) -> WriteTimeoutError:
    return WriteTimeoutError(
        "the deadline passed before the write could take effect; allow more time",
        retry=Retry.SAFE,
        phase=phase,
        target=request.target,
        type=request.type,
    )
