"""A Redis client's pool as one write sees it: every command that leaves is noted, and none leaves past the deadline.

redis-py raises the same exception for "never sent" and for "sent, and nobody answered". What became of a write hangs
on the difference, so the difference is noted here where it arises: a command counts as sent when its last byte has
been handed to the kernel. Before that the server has no complete command; for a MULTI block the last is EXEC, without
which nothing is applied.

The lane stands in the pool's place for one write and hands out the pool's own connections in a thin wrapping. Neither
pool nor connections are changed, except that the socket's timeout follows the deadline while the write lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis import RedisError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, ReadOnlyError
from redis.retry import Retry as RedisRetry

from wellwired.clock import Deadline
from wellwired.errors import Phase
from wellwired.writers._native import redis_word
from wellwired.writers._redis_clients import has_room
from wellwired.writers.classification import Kind, find_rule

__all__ = ["Lane", "LateError"]

_NO_RETRY = RedisRetry(NoBackoff(), 0)
_NAP = 0.002
_QUIET = frozenset(
    {
        *("WATCH", "UNWATCH", "PING", "SELECT", "HELLO", "AUTH", "CLIENT", "SCRIPT", "TIME", "INFO"),
        *("GET", "MGET", "STRLEN", "EXISTS", "TYPE", "TTL", "PTTL"),
        *("HGET", "HMGET", "HGETALL", "HEXISTS", "HLEN", "HKEYS", "HVALS"),
        *("LLEN", "LRANGE", "LINDEX", "SCARD", "SISMEMBER", "SMEMBERS"),
        *("ZCARD", "ZSCORE", "ZRANGE", "XLEN", "XRANGE"),
    }
)
"""Commands that change no data: an answer to one of them that is lost leaves nothing open."""


class LateError(Exception):
    """The deadline passed before a command was sent."""


class Lane:
    """One write's way to Redis; for one thread.

    Args:
        pool: the client's own pool.
        deadline: after which nothing is sent.
        grace: seconds beyond the deadline for which an answer is waited for.
    """

    def __init__(self, pool: Any, deadline: Deadline, grace: float) -> None:
        self.deadline = deadline
        self.grace = grace
        self.phase = Phase.EXECUTE
        self.sent = 0
        self.applied = 0
        self.unanswered = False
        self.dropped = False
        self.limit: int | str | None = None
        self.refused: Exception | None = None
        self._pool = pool
        self._out: dict[int, LaneConnection] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def get_connection(self, *names: Any, **options: Any) -> LaneConnection:
        """The pool's next connection, connected; waits for one until the deadline.

        Raises:
            LateError: the deadline has passed.
            redis.RedisError: as the pool raises it.
        """
        before, self.phase = self.phase, Phase.CHECKOUT
        wrapped = LaneConnection(self._connection(names, options), self)
        self.phase = before
        self._out[id(wrapped)] = wrapped
        return wrapped

    def _connection(self, names: tuple[Any, ...], options: dict[str, Any]) -> Any:
        while not self.deadline.passed:
            # One that waits by itself would wait as long as it likes.
            if has_room(self._pool):
                with suppress(MaxConnectionsError):
                    return self._next(names, options)
            self.deadline.clock.sleep(min(_NAP, self.deadline.left()))
        raise LateError

    def _next(self, names: tuple[Any, ...], options: dict[str, Any]) -> Any:
        # The library's own pools make a connection within the time that is left, others within their settings' time.
        within = getattr(self._pool, "connection_within", None)
        left = self.deadline.left()
        if within is None or math.isinf(left):
            return self._pool.get_connection(*names, **options)
        return within(left)

    def release(self, connection: LaneConnection) -> None:
        """Gives a connection back to the pool, as it was."""
        if self._out.pop(id(connection), None) is not None:
            connection.restore()
            inner, connection.inner = connection.inner, _RETURNED
            self._pool.release(inner)

    def close(self) -> None:
        """Breaks and gives back what the handler kept; somebody may still be listening on it."""
        for connection in list(self._out.values()):
            connection.inner.disconnect()
            self.release(connection)


def _leave_alone(_relaxed: float | None = None) -> None:
    """Changes no time limit; in place of a connection's own method while a write has it."""


class _Returned:
    """What a pipeline or subscription that outlives its write still has: no connection.

    redis-py's pipelines say UNWATCH when they are collected as garbage. By then somebody else has the connection.
    """

    socket_timeout = None
    _sock = None

    def disconnect(self, *_words: Any, **_options: Any) -> None:
        """There is nothing to break."""

    def __getattr__(self, name: str) -> Any:
        raise RedisConnectionError(f"the write is over, and its connection was given back; {name} is not possible")


_RETURNED = _Returned()


class LaneConnection:
    """One of the pool's connections while a write has it; stands in for it completely.

    Args:
        inner: the pool's connection.
        lane: the write's.
    """

    def __init__(self, inner: Any, lane: Lane) -> None:
        self.inner = inner
        self.retry = _NO_RETRY
        self._lane = lane
        self._quiet = False
        self._stale = False
        self._callbacks: list[Any] = []
        self._relaxing = self._keep_limits()
        self._waits = inner.socket_timeout

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def socket(self) -> Any:
        """What it is connected by now; another object once it has been connected again."""
        return getattr(self.inner, "_sock", None)  # it has no public name

    def send_command(self, *words: Any, **options: Any) -> None:
        """Packs and sends one command; see `send_packed_command`."""
        name = str(words[0]).split(" ", 1)[0].upper()
        if name == "UNWATCH" and self._lane.deadline.passed:
            # redis-py's way to say that a pipeline is left; breaking the connection says it too, and at once.
            raise RedisConnectionError
        quiet = name in _QUIET
        self._send(quiet, lambda: self.inner.send_command(*words, **options))

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Sends what is packed, unless the deadline has passed, and notes that it was sent."""
        self._send(False, lambda: self.inner.send_packed_command(command, check_health=check_health))

    def send_many(self, packed: Sequence[bytes]) -> None:
        """Sends what is packed, of which each piece stands for itself, unless the deadline has passed.

        From its first byte on a part of it may be done, so it counts as sent from then on.
        """
        lane = self._lane
        left = lane.deadline.left()
        if left <= 0:
            raise LateError
        self._quiet = False
        self._limit(left)
        try:
            self.inner.check_health()
            lane.sent += 1
            self.inner.send_packed_command(packed, check_health=False)
        except BaseException:
            lane.dropped = True
            raise
        self._limit(left + lane.grace)

    def read_response(self, *names: Any, **options: Any) -> Any:
        """Reads one answer and notes what it says about the commands that were sent."""
        try:
            if self.socket is None:
                raise RedisConnectionError("redis-py broke the connection over an earlier answer")
            answer = self.inner.read_response(*names, **options)
        except BaseException as error:
            told: BaseException | None = error
            if isinstance(error, RedisConnectionError) and isinstance(error.__context__, ReadOnlyError):
                # Sentinel's connections break when a primary has become a replica, which refused and applied nothing.
                told = self._lane.refused = error.__context__
            word = redis_word(told) if isinstance(told, RedisError) else None
            self._heed_word(word)
            self._lane.unanswered = self._lane.unanswered or (word is None and not self._quiet)
            self._lane.dropped = self._lane.dropped or word is None
            if word is None:
                # Sentinel's connections would go on, with somebody else's answer.
                self.inner.disconnect()
            raise
        if not self._quiet:
            self._lane.applied += 1
        return answer

    def heed(self, answer: Any) -> None:
        """Notes what an answer inside a script's answer says about the server: one that cannot serve is left."""
        if isinstance(answer, RedisError):
            self._heed_word(redis_word(answer))

    def register_connect_callback(self, callback: Any) -> None:
        """Has a subscription told when the connection is made again, for as long as the write has it."""
        self._callbacks.append(callback)
        self.inner.register_connect_callback(callback)

    def restore(self) -> None:
        """Makes the connection as it was, or drops it if the server behind it cannot serve writes."""
        if self._relaxing:
            del self.inner.update_current_socket_timeout
        for callback in self._callbacks:
            self.inner.deregister_connect_callback(callback)
        if self._stale:
            self.inner.disconnect()
        else:
            self._wait_at_most(self.inner.socket_timeout)

    def _heed_word(self, word: str | None) -> None:
        rule = find_rule("redis", word)
        self._stale = self._stale or (rule is not None and rule.kind is Kind.UNAVAILABLE)

    def _keep_limits(self) -> bool:
        """Has notifications of maintenance leave the time limits alone; returns whether there may be any."""
        config = getattr(self.inner, "maint_notifications_config", None)
        relaxing = config is not None and bool(config.enabled)
        if relaxing:
            # They would give a server that is being moved ten seconds, whatever the deadline.
            self.inner.update_current_socket_timeout = _leave_alone
        return relaxing

    def _send(self, quiet: bool, send: Callable[[], None]) -> None:
        lane = self._lane
        left = lane.deadline.left()
        if left <= 0:
            raise LateError
        self._quiet = quiet
        self._limit(left)
        try:
            send()
        except BaseException:
            lane.dropped = True
            raise
        if not quiet:
            lane.sent += 1
            self._limit(left + lane.grace)

    def _limit(self, seconds: float) -> None:
        usual = self.inner.socket_timeout
        if not math.isinf(seconds):
            self._wait_at_most(seconds if usual is None else min(usual, seconds))

    def _wait_at_most(self, seconds: float | None) -> None:
        if seconds == self._waits:
            return
        self._waits = seconds
        sock = self.socket
        if sock is not None and hasattr(sock, "settimeout"):  # fakeredis has one that never waits
            sock.settimeout(seconds)
