"""The items of a batch on Redis, and the pieces that they are sent as.

Each item is atomic by itself, and no item's failure touches another. Alone in its piece it is a single command, a MULTI
block, or a script with an idempotency key. Fenced items share a script that looks at the deadline once for some of
them, and then does each like a script of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from redis import RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ExecAbortError

from wellwired.clock import Deadline
from wellwired.handlers.after import Collected
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._native import redis_word
from wellwired.writers._redis_answers import called_back
from wellwired.writers._redis_attempt import Backend, Queued, told
from wellwired.writers._redis_clock import Limit
from wellwired.writers._redis_fence import FENCE_MANY, Script, flat
from wellwired.writers._redis_run import Keyed, refused
from wellwired.writers._redis_script import ONCE, record_name

__all__ = ["MOST_BYTES", "Item", "Piece", "Said", "Sent", "pieces", "reply"]

# What the last of them does may be done so much later than the script's look at the clock: some 0.2 ms.
_MOST_TOGETHER: Final = 100

MOST_BYTES: Final = 1_000_000
"""How large a packet of several may be."""

Said: TypeAlias = WriteResult[Any] | Exception
"""What became of an item: its result, or what is wrong with it alone."""


class Item(NamedTuple):
    """One request of a batch with what its handler has queued.

    Args:
        at: its position in the batch.
        request: the request.
        queued: what was queued; not nothing, unless it has a key.
        fenced: whether it is to be fenced.
        keyed: the same with its idempotency key, or None.
        after: what is to be done after its commit.
    """

    at: int
    request: WriteRequest
    queued: Queued
    fenced: bool
    keyed: Keyed | None
    after: Collected

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return sum(len(word) for words, _ in self.queued.commands for word in words if isinstance(word, str | bytes))


class Sent(NamedTuple):
    """What the pieces of a batch share while they are sent.

    Args:
        backend: where.
        deadline: ours.
        limit: the same, as the server is told it.
    """

    backend: Backend
    deadline: Deadline
    limit: Limit


class Piece(Protocol):
    """One or more items that share an answer."""

    items: Sequence[Item]
    script: Script | None
    """The script that the server must know for it."""

    def words(self, sent: Sent, /) -> Sequence[Sequence[Any]]:
        """The commands that it is sent as; raises a `WriteError` if it cannot be sent."""
        ...

    def read(self, connection: Any, sent: Sent, /) -> Sequence[Said]:
        """Reads its answer, and tells what became of each item; raises what is wrong with all of them."""
        ...


def pieces(items: Sequence[Item]) -> Iterator[Piece]:
    """Divides items into pieces, in their order as far as they are of one sort."""
    fenced: list[Item] = []
    size = 0
    for item in items:
        if item.keyed is not None:
            yield _Once(item, item.keyed)
        elif not item.fenced:
            yield _Block(item)
        else:
            more = item.size
            if fenced and (len(fenced) >= _MOST_TOGETHER or size + more > MOST_BYTES):
                yield _Fenced(fenced)
                fenced, size = [], 0
            fenced.append(item)
            size += more
    if fenced:
        yield _Fenced(fenced)


class _Fenced:
    __slots__ = ("items", "script")

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.script: Script | None = FENCE_MANY

    def words(self, sent: Sent, /) -> Sequence[Sequence[Any]]:
        given: list[Any] = ["EVALSHA", FENCE_MANY.digest, 0, sent.limit.at]
        for item in self.items:
            given.append(len(item.queued.commands))
            given += flat(item.queued.commands)
        return [given]

    def read(self, connection: Any, sent: Sent, /) -> Sequence[Said]:
        raw = connection.read_response()
        if raw[0] == 0:
            return [refused(item.request, sent.deadline, sent.limit) for item in self.items]
        connection.heed(raw[-1][-1])
        callbacks = sent.backend.runner.callbacks
        return [
            _said(item, callbacks.read(answers, item.queued.commands))
            for item, answers in zip(self.items, raw[2:], strict=True)
        ]


class _Block:
    __slots__ = ("items", "script")

    def __init__(self, item: Item) -> None:
        self.items: Sequence[Item] = (item,)
        self.script: Script | None = None

    def words(self, _sent: Sent, /) -> Sequence[Sequence[Any]]:
        commands = [words for words, _ in self.items[0].queued.commands]
        return commands if len(commands) == 1 else [("MULTI",), *commands, ("EXEC",)]

    def read(self, connection: Any, sent: Sent, /) -> Sequence[Said]:
        (item,) = self.items
        commands = item.queued.commands
        answers = [reply(connection)] if len(commands) == 1 else _block(connection, len(commands))
        callbacks: Any = sent.backend.client.response_callbacks
        read = [
            called_back(callbacks.get(words[0]), answer, options)
            for answer, (words, options) in zip(answers, commands, strict=True)
        ]
        return [_said(item, read)]


class _Once:
    __slots__ = ("_keyed", "items", "script")

    def __init__(self, item: Item, keyed: Keyed) -> None:
        self.items: Sequence[Item] = (item,)
        self.script: Script | None = ONCE
        self._keyed = keyed

    def words(self, sent: Sent, /) -> Sequence[Sequence[Any]]:
        words = self._keyed.words(self.items[0].request)
        return [("EVALSHA", ONCE.digest, 1, record_name(self._keyed.key), sent.limit.at, *words)]

    def read(self, connection: Any, sent: Sent, /) -> Sequence[Said]:
        request = self.items[0].request
        answer = sent.backend.runner.parsed(connection.read_response(disable_decoding=True), self._keyed)
        if answer.state == "expired":
            return [refused(request, sent.deadline, sent.limit)]
        return [told(answer, self._keyed, request)]


def _said(item: Item, answers: list[Any]) -> Said:
    try:
        return item.queued.result(answers, item.request)
    except Exception as error:  # noqa: BLE001 - it is the item's alone
        return error


def _block(connection: Any, count: int) -> list[Any]:
    """Reads the answers to MULTI, to each command that was queued, and to EXEC."""
    refusals: list[Exception] = []
    for _ in range(count + 1):
        one = reply(connection)
        if isinstance(one, RedisConnectionError):
            raise one  # such as LOADING: redis-py breaks the connection over it
        if isinstance(one, Exception):
            refusals.append(one)
    try:
        answers: list[Any] = connection.read_response()
    except ExecAbortError:
        # It says only that a command was refused; that command's own answer says why.
        if refusals:
            raise refusals[0] from None
        raise
    return answers


def reply(connection: Any) -> Any:
    """Reads one answer; an error that Redis answered with is given back, not raised."""
    try:
        return connection.read_response()
    except RedisError as error:
        if redis_word(error) is None:
            raise
        return error
