"""What a failed write to Redis means, from what its lane has noted and the first word of Redis's answer.

Redis rolls nothing back. So beside "not applied" and "unknown" there is a third outcome here, PARTIAL: some of the
write's commands took effect, and another failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import DataError, RedisError, WatchError

from wellwired.errors import BackendError, ErrorCode, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._failures import POOL_FULL, TOO_LATE, fill, write_error
from wellwired.writers._lane import Lane, LateError
from wellwired.writers._native import redis_word
from wellwired.writers._redis_fence import Command
from wellwired.writers.classification import Verdict, classify, find_rule
from wellwired.writers.protocol import handler_failed

__all__ = ["check_answers", "judge"]

_SCRIPTS = frozenset({"EVAL", "EVALSHA", "FCALL"})
_BAD_DATA = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "data")
_UNREAD = Verdict(ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.NEVER, "answer", renew=True)
_UNREAD_WORDS = "the commands were sent, and a callback of the client could not read the answer; mend the callback"
_BY_THEN_WORDS = (
    "the commands were sent and the answer was lost; Redis does them before the deadline or never, so look after it "
    "whether the data is there before sending it again, or give such writes an idempotency key"
)
_LATE_WORDS = "the deadline passed before the commands were sent, and nothing was applied; allow more time"


def check_answers(answers: Sequence[Any], commands: Sequence[Command], request: WriteRequest) -> None:
    """Finds the commands of a block that failed.

    Args:
        answers: one for each command; an exception for one that failed.
        commands: what was sent.
        request: the write, for the words of the error.

    Raises:
        BackendError: one failed: PARTIAL, or not applied if none of them was.
    """
    failed = [at for at, answer in enumerate(answers) if isinstance(answer, Exception)]
    if not failed:
        return
    first = answers[failed[0]]
    names = [str(words[0]).split(" ", 1)[0].upper() for words, _ in commands]
    word = redis_word(first)
    # A script may have done a part before it failed, unless the server did not know it.
    unrun = all(names[at] not in _SCRIPTS or redis_word(answers[at]) == "NOSCRIPT" for at in failed)
    if len(failed) == len(answers) and unrun:
        raise write_error(classify("redis", word, Phase.EXECUTE), request, Phase.COMMIT, first, native=word)
    rule = find_rule("redis", word)
    raise write_error(
        Verdict(ErrorCode.BACKEND, Outcome.PARTIAL, Retry.NEVER, rule.reason if rule else "unclassified"),
        request,
        Phase.COMMIT,
        first,
        native=word,
        message=f"{len(failed)} of {len(answers)} commands failed, the first of them number {failed[0] + 1} "
        f"({names[failed[0]]}), and the others were applied; mend the data before sending it again",
    )


def judge(error: BaseException, lane: Lane, request: WriteRequest, *, direct: bool) -> WriteError | None:
    """The error to raise for a failure.

    Args:
        error: what was raised while the write had the lane.
        lane: what it has noted.
        request: the write.
        direct: whether the handler sent its commands itself, one by one.

    Returns:
        The error, or None if `error` is to be raised as it is (it asks the thread or process to stop).
    """
    if not isinstance(error, Exception):
        return None
    failure = _failure(error, lane, request, direct)
    return _with_effects(failure, lane) if direct and lane.sent else failure


def _failure(error: Exception, lane: Lane, request: WriteRequest, direct: bool) -> WriteError:
    phase = Phase.COMMIT if lane.sent and not direct else lane.phase
    error = lane.refused or error
    if isinstance(error, WriteError):
        return fill(error, request, phase)
    if isinstance(error, LateError):
        late = POOL_FULL if lane.phase is Phase.CHECKOUT else TOO_LATE
        return write_error(late, request, lane.phase, message="" if late is POOL_FULL else _LATE_WORDS)
    # A value that redis-py cannot encode: its own complaint, of a class of its own and without a code.
    if isinstance(error, DataError):
        return write_error(_BAD_DATA, request, phase, error)
    word = _word(error, lane)
    answered = isinstance(error, RedisError) and (word is not None or lane.dropped or lane.phase is Phase.CHECKOUT)
    if not answered and lane.sent and not direct:
        return write_error(_UNREAD, request, phase, error, message=_UNREAD_WORDS)
    if not answered:
        return handler_failed(error, request)
    verdict = classify("redis", word, phase, lost=lane.dropped, late=lane.deadline.passed)
    words = _BY_THEN_WORDS if verdict.reason == "commit_unknown" and lane.limit else ""
    return write_error(verdict, request, phase, error, native=word, message=words)


def _word(error: Exception, lane: Lane) -> str | None:
    # redis-py raises this class also for a connection that was lost while watching, which the lane knows.
    if isinstance(error, WatchError) and not lane.dropped:
        return "WATCH"
    return redis_word(error)


def _with_effects(failure: WriteError, lane: Lane) -> WriteError:
    """The same failure, after commands that were sent before it."""
    if lane.unanswered:
        outcome, retry = Outcome.UNKNOWN, Retry.IF_IDEMPOTENT
    elif lane.applied:
        outcome, retry = Outcome.PARTIAL, Retry.IF_IDEMPOTENT
    else:
        return failure
    if failure.retry is Retry.NEVER:
        retry = Retry.NEVER
    if failure.code is ErrorCode.TIMEOUT:
        failure = BackendError(
            "the deadline passed between two commands; the earlier ones were applied",
            target=failure.target,
            type=failure.type,
            reason=failure.reason,
        )
    failure.outcome, failure.retry, failure.phase = outcome, retry, Phase.COMMIT
    return failure
