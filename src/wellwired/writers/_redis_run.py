"""Sends what a handler has queued, by the way that promises most: a fenced script, or MULTI.

Both are one packet and one atomic step. The script looks at the deadline inside the server (see `_redis_fence`); what
it cannot do is watch keys, and refuse a whole block for one command that Redis does not know. With an idempotency key
it is always a script, which looks for the key's record as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis

from wellwired.clock import Deadline
from wellwired.errors import ErrorCode, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._failures import TOO_LATE, write_error
from wellwired.writers._keys import Key, reused
from wellwired.writers._lane import Lane
from wellwired.writers._redis_answers import Callbacks
from wellwired.writers._redis_clock import Limit, ServerClocks
from wellwired.writers._redis_fence import FENCE, Command, Script, fits, flat
from wellwired.writers._redis_script import ASK, ONCE, Answer, arguments, parse, record_name
from wellwired.writers.classification import Verdict

__all__ = ["Keyed", "Runner", "no_key", "refused"]

_CLOCK_SET = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.SAFE, "clock")

_EXPIRED_WORDS = "the deadline passed before Redis took the commands up, so it did nothing of them; allow more time"
_CLOCK_WORDS = "the server's clock was set, so that it took the deadline for passed, and nothing was applied"


class Keyed(NamedTuple):
    """A write with an idempotency key, ready to be sent.

    Args:
        key: its key.
        attempt: this attempt's own name.
        data: the handler's result as JSON, or nothing.
        commands: what it queued.
    """

    key: Key
    attempt: bytes
    data: bytes
    commands: Sequence[Command]

    def words(self, request: WriteRequest) -> list[Any]:
        """Its script's arguments; raises `InvalidRequestError` if no script can take them."""
        if not fits(self.commands):
            raise no_key(request, "queues a command of more words than a script can take")
        return arguments(self.key, self.attempt, self.data, self.commands)


class Runner:
    """Sends commands on lanes; safe to share by threads.

    Args:
        client: the application's.
    """

    __slots__ = ("_client", "callbacks", "clocks")

    def __init__(self, client: Redis) -> None:
        self._client = client
        self.clocks = ServerClocks()
        self.callbacks = Callbacks(client)

    def fenced(self, lane: Lane, request: WriteRequest, commands: Sequence[Command]) -> list[Any]:
        """Runs commands unless the deadline has passed by the server's clock.

        Returns:
            The answers in order; the error of a command that failed stands in its place.

        Raises:
            WriteTimeoutError: the server took them up too late, and did nothing.
        """
        if not commands:
            return []
        raw, limit = self._run(lane, FENCE, (0,), flat(commands))
        if raw[0] == 0:
            raise refused(request, lane.deadline, limit)
        return self.callbacks.read(raw[2:], commands)

    def once(self, lane: Lane, request: WriteRequest, keyed: Keyed) -> Answer:
        """Runs commands if their key is new and the deadline has not passed by the server's clock.

        Returns:
            The answer: ``done`` or ``replay``.

        Raises:
            WriteTimeoutError: the server took them up too late, and did nothing.
            InvalidRequestError: the key was used with another payload, or they cannot be run by a script.
        """
        words = keyed.words(request)
        raw, limit = self._run(lane, ONCE, (1, record_name(keyed.key)), words, raw=True)
        answer = self.parsed(raw, keyed)
        if answer.state == "expired":
            raise refused(request, lane.deadline, limit)
        return answer

    def ask(self, lane: Lane, keyed: Keyed, limit: int | str) -> Answer:
        """Asks what became of a write with a key, whose answer was lost.

        Args:
            lane: another one, with time of its own.
            keyed: the write.
            limit: the deadline as the server was told it with the write.

        Returns:
            ``done`` or ``replay`` if it was applied, ``expired`` if it was not and never will be, ``open`` if it may
            still come.

        Raises:
            InvalidRequestError: the key was used with another payload.
        """
        words = (1, record_name(keyed.key), limit, keyed.key.fingerprint, keyed.attempt)
        connection = lane.get_connection()
        try:
            return self.parsed(ASK.run(connection, words, raw=True), keyed)
        finally:
            lane.release(connection)

    def parsed(self, raw: Sequence[Any], keyed: Keyed) -> Answer:
        """What a script said about a write with a key; raises `InvalidRequestError` for one that was used before."""
        answer = parse(raw, self._client.get_encoder().decode)
        if answer.state == "reused":
            raise reused(keyed.key)
        return answer._replace(answers=self.callbacks.read(answer.answers, keyed.commands))

    def _run(
        self, lane: Lane, script: Script, keys: Sequence[Any], words: Sequence[Any], *, raw: bool = False
    ) -> tuple[Any, Limit]:
        """Sends a script with the deadline in server time, and learns of the server's clock from its answer."""
        connection = lane.get_connection()
        try:
            limit = self.clocks.limit(connection, lane.deadline)
            lane.limit = limit.at
            clock = lane.deadline.clock
            began = clock.monotonic()
            answer = script.run(connection, (*keys, limit.at, *words), raw=raw)
            self.clocks.note(connection, clock, began, answer[1])
            connection.heed(answer[-1])
        finally:
            lane.release(connection)
        return answer, limit


def refused(request: WriteRequest, deadline: Deadline, limit: Limit) -> WriteError:
    """The error for a write that the server took up too late; to be raised by the caller.

    Args:
        request: the write.
        deadline: its deadline.
        limit: what the server was told.
    """
    # Not late by our clock: what we knew of the server's was wrong, and the answer has put it right.
    clock_set = deadline.left() > limit.doubt
    verdict, words = (_CLOCK_SET, _CLOCK_WORDS) if clock_set else (TOO_LATE, _EXPIRED_WORDS)
    return write_error(verdict, request, Phase.EXECUTE, message=words)


def no_key(request: WriteRequest, why: str) -> InvalidRequestError:
    """The error for a key that cannot be kept; to be raised by the caller."""
    return InvalidRequestError(
        f"an idempotency key cannot be kept for {request.type!r}, because its handler {why}; leave the key out, or let "
        "the handler only queue commands",
        target=request.target,
        type=request.type,
        reason="idempotency_key",
    )
