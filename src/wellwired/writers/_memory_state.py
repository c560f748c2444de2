"""What a memory writer keeps, and one write to it: a view that becomes the data in one step, or not at all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import msgspec

from wellwired.errors import BackendError, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._keys import Key, reused, stored_form
from wellwired.writers.protocol import handler_failed

__all__ = ["Done", "Fault", "MemoryView", "State", "late", "ordered", "perform", "perform_many", "warned"]

Fault: TypeAlias = tuple[Exception | None, bool]
"""A failure that a test has ordered, or None; and whether the data is changed all the same."""

_GONE: Final = object()


@dataclass(slots=True)
class State:
    """What is there.

    Args:
        data: what handlers have written.
        kept: for each idempotency key its payload's fingerprint and the stored result.
    """

    data: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def copied(self) -> State:
        """The same for now, to be changed for itself."""
        return State(dict(self.data), dict(self.kept))


@dataclass(frozen=True, slots=True)
class Done:
    """A write that a handler has done, and that does not count yet.

    Args:
        results: the results of its requests, in order; one, unless a handler did many.
        view: what it changed.
        key: its idempotency key, or None.
    """

    results: Sequence[WriteResult[Any]]
    view: MemoryView
    key: Key | None = None

    def apply(self, state: State) -> None:
        """Makes it count."""
        self.view.apply(state.data)
        (first, *_) = self.results
        if self.key is not None and not first.replayed:
            state.kept[self.key.id] = (self.key.fingerprint, stored_form(first.data))


def perform(state: State, request: WriteRequest, handler: Handler, after: Collected | None, *, keeps: bool) -> Done:
    """Has a handler do a write, which changes nothing yet.

    Args:
        state: what it sees.
        request: a valid request.
        handler: is called with the request and a view.
        after: collects what is to be done after the commit; None if somebody else does.
        keeps: whether idempotency keys are kept.

    Raises:
        WriteError: as the handler raised it, or for what it raised; or the key was used for another payload.
    """
    view = MemoryView(state.data)
    key = None
    if keeps and request.idempotency_key is not None:
        key = Key.of(request, now=0, ttl=0)
        known = state.kept.get(key.id)
        if known is not None:
            view.close()
            if known[0] != key.fingerprint:
                raise reused(key)
            data = msgspec.json.decode(known[1])
            return Done((WriteResult(message="done before", data=data, replayed=True),), view, key)
    data = _called(request, view, after, lambda: handler.handle(request, view))
    if key is not None:
        stored_form(data)  # refused while nothing counts
    return Done((WriteResult(message="written", data=data),), view, key)


def perform_many(state: State, requests: Sequence[WriteRequest], handler: Any, after: Collected) -> Done:
    """Has a handler do many writes at once by its `handle_many`, which changes nothing yet.

    Args:
        state: what it sees.
        requests: valid ones, without idempotency keys.
        handler: has a `handle_many`.
        after: collects what is to be done after the commit.

    Raises:
        WriteError: as the handler raised it, or for what it raised.
    """
    view = MemoryView(state.data)
    data: Sequence[Any] = _called(requests[0], view, after, lambda: handler.handle_many(requests, view))
    if len(data) != len(requests):
        raise BackendError(
            f"handle_many() returned {len(data)} results for {len(requests)} requests; it must return one for each",
            retry=Retry.NEVER,
            phase=Phase.EXECUTE,
            reason="handler",
        )
    return Done([WriteResult(message="written", data=one) for one in data], view)


def late(request: WriteRequest, phase: Phase) -> WriteTimeoutError:
    """The error for a write whose deadline has passed; to be raised by the caller."""
    return WriteTimeoutError(
        "the deadline passed before the write could take effect; allow more time",
        retry=Retry.SAFE,
        phase=phase,
        target=request.target,
        type=request.type,
    )


def ordered(fault: Exception, request: WriteRequest) -> WriteError:
    """The error for a failure that a test has ordered: as it is, or as if the handler had raised it."""
    return fault if isinstance(fault, WriteError) else handler_failed(fault, request)


def warned(result: WriteResult[Any], warnings: tuple[str, ...]) -> WriteResult[Any]:
    """A result with what went wrong after it."""
    return replace(result, warnings=result.warnings + warnings) if warnings else result


def _called(request: WriteRequest, view: MemoryView, after: Collected | None, call: Callable[[], Any]) -> Any:
    try:
        with after or nullcontext():
            return call()
    except WriteError:
        raise
    except Exception as error:
        raise handler_failed(error, request) from error
    finally:
        view.close()


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

    def apply(self, data: dict[str, Any] | None = None) -> None:
        """Makes the changes.

        Args:
            data: where; None for the data that it is a view of.
        """
        data = self._data if data is None else data
        for key, value in self._changes.items():
            if value is _GONE:
                data.pop(key, None)
            else:
                data[key] = value

    def _changed(self) -> dict[str, Any]:
        if not self._open:
            raise RuntimeError("the write is over; a handler must not keep its connection")
        return self._changes
