"""What an error means: decided from the backend's own code and the phase of the write, and from nothing else.

Exception classes cannot tell: drivers file the same error number under different classes, a syntax error in SQLite
is of the same class as a busy lock, and no class says whether COMMIT had been sent. So the code says what happened,
from a table per backend, and the phase says what became of the data: before COMMIT is sent nothing is applied, and
after it only a definite refusal is "not applied".

Pure functions over frozen tables; the writers act on the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wellwired.errors import ErrorCode, Outcome, Phase, Retry
from wellwired.writers import _mysql_codes, _postgresql_codes, _redis_codes, _sqlite_codes
from wellwired.writers._rules import Kind, Native, Rule

__all__ = ["Kind", "Native", "Rule", "Speed", "Verdict", "classify", "find_rule"]


class Speed(StrEnum):
    """How soon sending it again makes sense."""

    FAST = "fast"
    """The obstacle was another transaction: milliseconds."""
    SLOW = "slow"
    """The obstacle is the server or its capacity: it needs time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means for the one who asked for the write.

    Args:
        code: which error to raise.
        outcome: what became of the data.
        retry: whether sending it again is right.
        reason: one word of detail.
        speed: how soon to send it again, if it is right.
        renew: whether the connection must be dropped and not returned to its pool.
    """

    code: ErrorCode
    outcome: Outcome
    retry: Retry
    reason: str
    speed: Speed = Speed.FAST
    renew: bool = False


_TABLES: Mapping[str, Mapping[Native, Rule]] = {
    "mysql": _mysql_codes.RULES,
    "mariadb": _mysql_codes.RULES,
    "postgresql": _postgresql_codes.RULES,
    "cockroachdb": _postgresql_codes.RULES,
    "sqlite": _sqlite_codes.RULES,
    "redis": _redis_codes.RULES,
}

_NO_RULES: Mapping[Any, Rule] = {}
_UNKNOWN = Rule(Kind.PERMANENT, "unclassified")
_LOST = Rule(Kind.LOST, "connection", ends=True)
_UNREACHED = Rule(Kind.UNAVAILABLE, "connection", ends=True)
_FAST = frozenset({Kind.CONFLICT})
_RENEW = frozenset({Kind.LOST, Kind.UNAVAILABLE, Kind.UNSURE})
_OPEN_AT_COMMIT = frozenset({Kind.LOST, Kind.UNSURE})


def find_rule(dialect: str, native: Native | None, rules: Mapping[Any, Rule] = _NO_RULES) -> Rule | None:
    """The rule for a code: the caller's own first, then the table's, exact before general.

    Args:
        dialect: ``mysql``, ``mariadb``, ``postgresql``, ``cockroachdb``, ``sqlite`` or ``redis``; another has no table.
        native: the backend's code, or None if it gave none.
        rules: rules of the caller's that come before the table's.

    Returns:
        The rule, or None for a code that nobody knows.
    """
    if native is None:
        return None
    table = _TABLES.get(dialect, _NO_RULES)
    found = rules.get(native) or table.get(native)
    if found is None and isinstance(native, str) and len(native) == 5:
        return table.get(native[:2])
    if found is None and isinstance(native, int) and dialect == "sqlite":
        return table.get(native & 0xFF)
    return found


def classify(
    dialect: str,
    native: Native | None,
    phase: Phase,
    *,
    lost: bool = False,
    late: bool = False,
    rules: Mapping[Any, Rule] = _NO_RULES,
) -> Verdict:
    """Decides what a failure means.

    A code that nobody knows is permanent, with the outcome that the phase leaves. An error without a code is a lost
    connection if the driver says that the connection is gone, and an unreachable server if there was none yet.

    Args:
        dialect: the backend's name, as for `find_rule`.
        native: the backend's code, or None if it gave none.
        phase: how far the write had come when it failed; `COMMIT` from the moment that it may have been sent.
        lost: whether the connection was gone after the error.
        late: whether the deadline had passed; then what could have been tried again is a TIMEOUT.
        rules: the caller's own rules, which come before the tables.

    Returns:
        The verdict.
    """
    rule = find_rule(dialect, native, rules) or _without_rule(native, phase, lost)
    if phase in (Phase.COMMIT, Phase.DONE):
        return _after_commit_was_sent(rule, lost)
    return _before_commit(rule, late, lost)


def _without_rule(native: Native | None, phase: Phase, lost: bool) -> Rule:
    if native is None and phase in (Phase.ADMIT, Phase.CHECKOUT):
        return _UNREACHED
    return _LOST if lost else _UNKNOWN


def _before_commit(rule: Rule, late: bool, lost: bool) -> Verdict:
    renew = lost or rule.kind in _RENEW
    if rule.kind is Kind.PERMANENT:
        return Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, rule.reason, renew=renew)
    code = ErrorCode.TIMEOUT if late else ErrorCode.BACKEND
    return Verdict(code, Outcome.NOT_APPLIED, Retry.SAFE, rule.reason, _speed(rule), renew)


def _after_commit_was_sent(rule: Rule, lost: bool) -> Verdict:
    if rule is _UNKNOWN:
        return Verdict(ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.NEVER, rule.reason, renew=True)
    # A timer at COMMIT may have fired on either side of the point of no return.
    if lost or rule.kind in _OPEN_AT_COMMIT or rule.kind is Kind.TIMER:
        return Verdict(ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.IF_IDEMPOTENT, "commit_unknown", Speed.SLOW, True)
    retry = Retry.NEVER if rule.kind is Kind.PERMANENT else Retry.SAFE
    return Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, retry, rule.reason, _speed(rule), rule.kind in _RENEW)


def _speed(rule: Rule) -> Speed:
    return Speed.FAST if rule.kind in _FAST else Speed.SLOW
