"""Group commit: writes of one type that come at the same time from many threads share a transaction and its COMMIT.

There is no thread of its own and, unless asked for, no wait. Whoever comes while nobody writes leads: it takes what is
waiting behind it and writes all of it with its own. Who comes meanwhile waits; when the leader is done, the first of
them leads the next group. So groups grow with the load: one thread alone writes as it would without this.

Nobody fails for a neighbour's sake. What is wrong with one write is found behind savepoints and is its own error. What
ends the whole transaction before its COMMIT (a deadlock, a lost connection, a neighbour's nearer deadline) sends each
of its members to try by itself, on its own thread. Only a COMMIT without an answer leaves all of them UNKNOWN.

A write whose deadline passes while it waits leaves, not applied; once it is taken along it waits for the outcome, no
longer than the nearest deadline of its group and the grace of a COMMIT. Handlers run on the thread of whoever leads, so
they must not use thread-local or context-local state of their caller.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer, error_for
from wellwired.writers._failures import POOL_FULL, write_error
from wellwired.writers._forks import renew_in_child

__all__ = ["Group", "GroupCommit"]

Alone = Callable[[WriteRequest, Handler, Deadline], WriteResult[Any]]
Together = Callable[[Sequence[WriteRequest], Handler, Deadline], Sequence[Answer]]

_QUEUED = "the deadline passed while the write waited for its turn in a group; allow more time or lower the load"


@dataclass(frozen=True, slots=True)
class GroupCommit:
    """How writes of a type share transactions; immutable.

    Args:
        max_batch: how many share one at most.
        linger: seconds for which a leader waits for others before it begins. 0 takes whoever is there, which is
            enough where commits take longer than the way to them.

    Raises:
        ValueError: max_batch is less than 2, or linger is negative or not finite.
    """

    max_batch: int = 64
    linger: float = 0.0

    def __post_init__(self) -> None:
        if self.max_batch < 2:
            raise ValueError("max_batch of a group commit must be 2 or more")
        if not math.isfinite(self.linger) or self.linger < 0:
            raise ValueError("linger of a group commit must be a finite number of seconds, 0 or more")


class _State(Enum):
    WAITING = auto()
    LEADING = auto()
    TAKEN = auto()
    DONE = auto()


class _Member:
    """One write; its fields change under the group's lock only."""

    __slots__ = ("answer", "called", "deadline", "handler", "request", "state")

    def __init__(self, request: WriteRequest, handler: Handler, deadline: Deadline) -> None:
        self.request, self.handler, self.deadline = request, handler, deadline
        self.state = _State.WAITING
        self.answer: Answer | None = None
        self.called = threading.Event()


class Group:
    """The writes of one type; safe to share by threads, and in a forked child.

    Args:
        policy: how many share a transaction, and how long a leader waits for them.
        alone: makes one attempt at one write.
        together: makes one attempt at several.
    """

    def __init__(self, policy: GroupCommit, *, alone: Alone, together: Together) -> None:
        self._policy, self._alone, self._together = policy, alone, together
        self._led = False
        self._queue: deque[_Member] = deque()
        self.renew()
        renew_in_child(self)

    def write(self, request: WriteRequest, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt, with others if there are any; see `wellwired.writers.protocol.Writer.write`."""
        if getattr(_here, "leading", False):  # a handler's own write must not wait for the group that waits for it
            return self._alone(request, handler, deadline)
        member = _Member(request, handler, deadline)
        with self._lock:
            self._queue.append(member)
            if not self._led:
                self._led, member.state = True, _State.LEADING
            elif len(self._queue) >= self._policy.max_batch:
                self._full.set()
        try:
            if member.state is not _State.LEADING:
                self._wait(member)
            if member.state is _State.LEADING:
                self._lead(member)
        except BaseException:
            self._leave(member)
            raise
        answer = member.answer
        if answer is None:
            return self._alone(request, handler, deadline)
        if isinstance(answer, WriteError):
            raise answer
        return answer

    def renew(self) -> None:
        """Begins anew in a forked child, where the threads that lead and wait do not exist."""
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._queue = deque()
        self._led = False
        _here.leading = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    def _wait(self, member: _Member) -> None:
        """Waits until the member is to lead, or is done, or it is too late to be taken along."""
        member.called.wait(min(member.deadline.left(), threading.TIMEOUT_MAX))
        with self._lock:
            if member.state is _State.WAITING:
                self._queue.remove(member)
                member.state, member.answer = _State.DONE, _too_late(member.request)
                return
        while member.state is _State.TAKEN:
            member.called.wait()

    def _lead(self, member: _Member) -> None:
        """Writes what is waiting, hands the lead on, and calls those who are done."""
        group: list[_Member] = []
        answers: Sequence[Answer | None] = ()
        try:
            if self._policy.linger:
                self._full.wait(min(self._policy.linger, member.deadline.left()))
            group = self._taken(member)
            answers = self._written(group)
        except BaseException:
            # The program is being ended, perhaps after COMMIT was sent: the others must not hope for an answer.
            answers = [_interrupted(one.request) for one in group]
            raise
        finally:
            self._hand_on(group, answers)

    def _taken(self, leader: _Member) -> list[_Member]:
        """Takes the leader and those who can go with it out of the queue, in their order."""
        with self._lock:
            self._full.clear()
            group: list[_Member] = []
            left: deque[_Member] = deque()
            keys: set[str] = set()
            for member in self._queue:
                if member is leader or (len(group) < self._policy.max_batch and _fits(member, leader, keys)):
                    group.append(member)
                    if member.request.idempotency_key is not None:
                        keys.add(member.request.idempotency_key)
                else:
                    left.append(member)
            self._queue = left
            for member in group:
                if member is not leader:
                    member.state = _State.TAKEN
        return group

    def _written(self, group: list[_Member]) -> Sequence[Answer | None]:
        """The answer of each; None for one that is to try by itself."""
        leader = group[0]
        if leader.deadline.passed and len(group) > 1:
            return [None] * len(group)
        nearest = min((member.deadline for member in group), key=lambda deadline: deadline.at)
        _here.leading = True
        try:
            if len(group) == 1:
                return [self._alone(leader.request, leader.handler, leader.deadline)]
            answers = self._together([member.request for member in group], leader.handler, nearest)
        except WriteError as error:
            return [error_for(error, member.request) if member is not leader else error for member in group]
        finally:
            _here.leading = False
        return [_own(member, answer) for member, answer in zip(group, answers, strict=True)]

    def _hand_on(self, group: list[_Member], answers: Sequence[Answer | None]) -> None:
        if not group:  # it was interrupted before it took anyone, and leaves by itself
            return
        with self._lock:
            for member, answer in zip(group, answers, strict=True):
                member.answer, member.state = answer, _State.DONE
            self._promote()
        for member in group:
            member.called.set()

    def _leave(self, member: _Member) -> None:
        """Takes a member out whose thread is being ended, so that nobody waits for it to lead."""
        with self._lock:
            was, member.state = member.state, _State.DONE
            if member in self._queue:
                self._queue.remove(member)
                if was is _State.LEADING:
                    self._promote()

    def _promote(self) -> None:
        """Has the first in the queue lead; under the lock."""
        if self._queue:
            self._queue[0].state = _State.LEADING
            self._queue[0].called.set()
        else:
            self._led = False


_here = threading.local()


def _fits(member: _Member, leader: _Member, keys: set[str]) -> bool:
    """Whether a write can share the leader's transaction."""
    # Of two with one key the second is for the next group, where it finds what the first has left.
    return (
        member.handler is leader.handler and member.request.idempotency_key not in keys and not member.deadline.passed
    )


def _own(member: _Member, answer: Answer) -> Answer | None:
    """A member's answer, or None if it failed for what may have been a neighbour's fault."""
    if isinstance(answer, WriteResult) or answer.outcome is not Outcome.NOT_APPLIED:
        return answer
    return answer if answer.retry is Retry.NEVER or member.deadline.passed else None


def _too_late(request: WriteRequest) -> WriteError:
    return write_error(POOL_FULL, request, Phase.CHECKOUT, message=_QUEUED)


def _interrupted(request: WriteRequest) -> BackendError:
    return BackendError(
        "the thread that wrote this together with others was interrupted; look whether the data is there",
        outcome=Outcome.UNKNOWN,
        retry=Retry.IF_IDEMPOTENT,
        phase=Phase.COMMIT,
        target=request.target,
        type=request.type,
        reason="interrupted",
    )
