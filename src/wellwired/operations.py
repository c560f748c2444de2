"""What flows through middleware and handlers: write requests, their results, and the operations of a store.

Plain immutable values without behaviour that could block. Their `repr` names what they are about and leaves out
payloads and values, so that a log line or a traceback cannot leak them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

from wellwired._frozen import refusing_changes
from wellwired.clock import Deadline

__all__ = ["StoreOperation", "StoreVerb", "WriteOperation", "WriteRequest", "WriteResult"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One write to one backend.

    It is checked by `WriteManager.write`, not here, so that a bad one is an INVALID_REQUEST like any other.

    Args:
        target: the dotted name of the backend, such as ``sql.main``.
        type: which handler is to do it, such as ``user_profile_update``.
        payload: what to write; a mapping, or an instance of the handler's payload model.
        meta: what is about the request and not written, such as a trace id; bound to its log event.
        timeout: seconds for the whole write, retries included; None takes the manager's.
        idempotency_key: with it the write takes effect once, however often it is sent.
        changes: keys of layered stores that the write changes, by the store's dotted name, such as
            ``{"stores.users": ["user:1"]}``; after the commit their copies are evicted.
    """

    target: str
    type: str
    payload: Any = field(repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float | None = None
    idempotency_key: str | None = field(default=None, repr=False)
    changes: Mapping[str, Iterable[str]] = field(default_factory=dict, repr=False)

    def with_payload(self, payload: Any) -> WriteRequest:
        """The same request about another payload; a third of the price of `dataclasses.replace`.

        Args:
            payload: what the new request is to write.
        """
        if type(self) is not WriteRequest:
            return replace(self, payload=payload)
        key, changes = self.idempotency_key, self.changes
        return WriteRequest(self.target, self.type, payload, self.meta, self.timeout, key, changes)


@refusing_changes
@dataclass(frozen=True, slots=True)
class WriteResult(Generic[T]):
    """What a write that took effect reports.

    Args:
        success: True; a failure is raised as a `WriteError`, or stands in a batch's answers as one.
        message: one line for people.
        data: what the handler returned; None of a handler that returns nothing.
        attempts: how many times the backend was tried.
        duration: seconds from the call to the answer.
        replayed: whether an earlier write with the same idempotency key gave this result.
        warnings: what went wrong after the commit, without changing it.
        pending: whether it takes effect only when a transaction around it, which is not the writer's own, has been
            committed by whoever opened that. Then it is not known yet whether it will.
    """

    success: bool = True
    message: str = ""
    data: T = field(default=cast("Any", None), repr=False)
    attempts: int = 1
    duration: float = 0.0
    replayed: bool = False
    warnings: tuple[str, ...] = ()
    pending: bool = False


@dataclass(frozen=True, slots=True)
class WriteOperation:
    """One admitted write, as its middleware sees it: the request is valid, its writer and handler are known.

    Args:
        request: the request, its payload already converted to the handler's model.
        writer: the name of the writer that will do it.
        deadline: by when it must have been committed or given up.
        repeatable: whether sending it twice is harmless (an idempotent handler, or an idempotency key).
        attempt: which attempt this is, from 1.
        began: when the call came, in seconds of the deadline's clock.
    """

    request: WriteRequest
    writer: str
    deadline: Deadline
    repeatable: bool = False
    attempt: int = 1
    began: float = 0.0


class StoreVerb(StrEnum):
    """Which operation of a store a middleware sees."""

    GET = "get"
    LOOKUP = "lookup"
    GET_OR_LOAD = "get_or_load"
    GET_SET = "get_set"
    SET = "set"
    DELETE = "delete"
    HAS = "has"
    CLEAR = "clear"
    KEYS = "keys"
    GET_MANY = "get_many"
    SET_MANY = "set_many"
    DELETE_MANY = "delete_many"
    EVICT = "evict"
    LOOKUP_MANY = "lookup_many"
    GET_OR_LOAD_MANY = "get_or_load_many"
    INVALIDATE_TAGS = "invalidate_tags"
    ADD = "add"
    UPDATE = "update"
    TOUCH = "touch"


@dataclass(frozen=True, slots=True)
class StoreOperation:
    """One call of a store, as its middleware sees it.

    Args:
        verb: which operation.
        store: the store's name.
        keys: the keys concerned, in the caller's order; empty for `clear` and `keys`.
        value: the value of `set`, `add` and `get_set`, or a mapping from key to value for `set_many`.
        ttl: seconds that the caller gave the value, or None.
        options: the other arguments of the call by name.
    """

    verb: StoreVerb
    store: str
    keys: Sequence[str] = ()
    value: Any = field(default=None, repr=False)
    ttl: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> str:
        """The single key of an operation on one key."""
        return self.keys[0]
