"""Ready-made handlers for Redis: set with a TTL, delete, hash set, increment, stream add.

Each queues its command on the pipeline that the writer sends; the data of the result is the list of replies. They are
fenced: Redis does nothing of them once the write's deadline has passed.
They need no redis-py to be imported. Texts, bytes and numbers are written as they are and read back by any client;
every other value is written as JSON.

================  ==============================================  ===========  ==========================
handler           payload                                         idempotent   replies
================  ==============================================  ===========  ==========================
`set_value`       ``key``, ``value``, ``ttl`` seconds             yes          ``[True]``
`delete_keys`     ``keys``                                        yes          how many were there
`hash_set`        ``key``, ``fields``, ``ttl`` seconds            yes          how many fields are new
`increment`       ``key``, ``by`` (1), ``ttl`` seconds            no           the number after it
`stream_add`      ``key``, ``fields``, ``max_length``             no           the entry's id
================  ==============================================  ===========  ==========================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from wellwired.errors import InvalidRequestError
from wellwired.handlers.decorator import FunctionHandler
from wellwired.handlers.protocol import NamesChanges
from wellwired.operations import WriteRequest

if TYPE_CHECKING:
    from redis.client import Pipeline

__all__ = [
    "DeleteKeys",
    "HashSet",
    "Increment",
    "SetValue",
    "StreamAdd",
    "delete_keys",
    "hash_set",
    "increment",
    "set_value",
    "stream_add",
]

Text = Annotated[str, msgspec.Meta(min_length=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3_000_000_000)]
RedisHandler: TypeAlias = "FunctionHandler[Pipeline, None]"


class SetValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value under a key.

    Args:
        key: the key.
        value: what to store.
        ttl: seconds after which it is gone, or None for never.
    """

    key: Text
    value: Any
    ttl: Seconds | None = None


class DeleteKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys to delete.

    Args:
        keys: at least one.
    """

    keys: Annotated[list[Text], msgspec.Meta(min_length=1)]


class HashSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of a hash.

    Args:
        key: the hash.
        fields: what to set in it; other fields stay.
        ttl: seconds after which the whole hash is gone, or None to leave that as it is.
    """

    key: Text
    fields: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    ttl: Seconds | None = None


class Increment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An addition to a number.

    Args:
        key: the number's key; one that is not there counts from 0.
        by: what to add.
        ttl: seconds after which it is gone, or None to leave that as it is.
    """

    key: Text
    by: int = 1
    ttl: Seconds | None = None


class StreamAdd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry for a stream.

    Args:
        key: the stream.
        fields: the entry.
        max_length: how many entries the stream keeps, about, or None for all.
    """

    key: Text
    fields: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    max_length: Annotated[int, msgspec.Meta(ge=1)] | None = None


def set_value(*, type: str, changes: NamesChanges | None = None) -> RedisHandler:
    """A handler that stores a value, in place of what was there, its TTL included; see `SetValue`.

    Args:
        type: the request type it does.
        changes: names the keys of layered stores that a request changes; None for none.
    """

    def handle(request: WriteRequest, pipeline: Pipeline) -> None:
        wanted: SetValue = request.payload
        pipeline.set(wanted.key, _stored(wanted.value), px=_milliseconds(wanted.ttl))

    return FunctionHandler(
        handle, type=type, backend="redis", payload_model=SetValue, idempotent=True, changes=changes, fenced=True
    )


def delete_keys(*, type: str, changes: NamesChanges | None = None) -> RedisHandler:
    """A handler that deletes keys; see `DeleteKeys`.

    Args:
        type: the request type it does.
        changes: names the keys of layered stores that a request changes; None for none.
    """

    def handle(request: WriteRequest, pipeline: Pipeline) -> None:
        wanted: DeleteKeys = request.payload
        pipeline.unlink(*wanted.keys)

    return FunctionHandler(
        handle, type=type, backend="redis", payload_model=DeleteKeys, idempotent=True, changes=changes, fenced=True
    )


def hash_set(*, type: str, changes: NamesChanges | None = None) -> RedisHandler:
    """A handler that sets fields of a hash; see `HashSet`.

    Args:
        type: the request type it does.
        changes: names the keys of layered stores that a request changes; None for none.
    """

    def handle(request: WriteRequest, pipeline: Pipeline) -> None:
        wanted: HashSet = request.payload
        pipeline.hset(wanted.key, mapping={name: _stored(value) for name, value in wanted.fields.items()})
        _limit(pipeline, wanted.key, wanted.ttl)

    return FunctionHandler(
        handle, type=type, backend="redis", payload_model=HashSet, idempotent=True, changes=changes, fenced=True
    )


def increment(*, type: str, changes: NamesChanges | None = None) -> RedisHandler:
    """A handler that adds to a number; see `Increment`.

    Args:
        type: the request type it does.
        changes: names the keys of layered stores that a request changes; None for none.
    """

    def handle(request: WriteRequest, pipeline: Pipeline) -> None:
        wanted: Increment = request.payload
        pipeline.incrby(wanted.key, wanted.by)
        _limit(pipeline, wanted.key, wanted.ttl)

    return FunctionHandler(handle, type=type, backend="redis", payload_model=Increment, changes=changes, fenced=True)


def stream_add(*, type: str, changes: NamesChanges | None = None) -> RedisHandler:
    """A handler that adds an entry to a stream; see `StreamAdd`.

    Args:
        type: the request type it does.
        changes: names the keys of layered stores that a request changes; None for none.
    """

    def handle(request: WriteRequest, pipeline: Pipeline) -> None:
        wanted: StreamAdd = request.payload
        entry = {name: _stored(value) for name, value in wanted.fields.items()}
        pipeline.xadd(wanted.key, entry, maxlen=wanted.max_length, approximate=True)  # type: ignore[arg-type]

    return FunctionHandler(handle, type=type, backend="redis", payload_model=StreamAdd, changes=changes, fenced=True)


def _limit(pipeline: Pipeline, key: str, ttl: float | None) -> None:
    if ttl is not None:
        pipeline.pexpire(key, _milliseconds(ttl) or 1)


def _milliseconds(seconds: float | None) -> int | None:
    # Redis refuses a TTL of 0: less than a millisecond is a millisecond.
    return None if seconds is None else max(1, round(seconds * 1000))


def _stored(value: Any) -> str | bytes | int | float:
    # A bool is an int to Python, and no number to Redis.
    if isinstance(value, str | bytes | int | float) and not isinstance(value, bool):
        return value
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"a value of type {type(value).__name__} has no JSON form; give text, bytes, a number, or what JSON holds",
            reason="payload",
        ) from error
