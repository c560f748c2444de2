"""Compares what callers were told with what the database holds; pure, and the heart of the proof.

The rules, for each write: told a success, it is there, once; told TIMEOUT or NOT_APPLIED, it is not there; told
UNKNOWN, it is there once or not at all. No part of it is there without the others, unless PARTIAL was said. Of
what belongs together all is there or nothing, and no write is blamed for its neighbour's mistake. With a
key it is there once however often it was sent, and an answer that says "done before" is believed only after one that
left that open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.writers.soak.workload import Call, Planned
from wellwired.errors import ErrorCode, Outcome, Phase

__all__ = ["Answer", "Found", "violations"]

SUCCESS = "SUCCESS"
_OWN_FAULTS = frozenset({"constraint", "data", "duplicate", "statement", "too_large"})
"""Reasons that only a write's own mistake can have."""


@dataclass(frozen=True)
class Answer:
    """What a caller was told, once.

    Args:
        code: "SUCCESS" or the error's code.
        outcome: the error's.
        phase: the error's.
        reason: the error's.
        data: the result's.
        replayed: whether the result was an earlier one's.
        attempts: how often the backend was tried.
        seconds: how long the call took.
    """

    code: str = SUCCESS
    outcome: Outcome | None = None
    phase: Phase | None = None
    reason: str = ""
    data: object = None
    replayed: bool = False
    attempts: int = 1
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """The code, and with an error its outcome."""
        return self.code if self.outcome is None else f"{self.code}/{self.outcome}"


@dataclass(frozen=True)
class Found:
    """What the database holds.

    Args:
        rows: how many rows there are for each number and part.
        marks: the numbers that are marked.
        balances: the sum on each account.
    """

    rows: Mapping[tuple[int, int], int] = field(default_factory=dict)
    marks: frozenset[int] = frozenset()
    balances: Mapping[int, int] = field(default_factory=dict)


def violations(
    calls: Sequence[Call],
    answers: Mapping[int, Sequence[Answer]],
    found: Found,
    *,
    patience: float,
    groups: bool = True,
) -> list[str]:
    """Every lie, as a sentence; none is what is to be proved.

    Args:
        calls: what was asked for.
        answers: what was told for each number, in the order of sending.
        found: what is there, after the last transaction has ended.
        patience: seconds beyond its timeout that a call may take.
        groups: whether what belongs together must be there together; not after some of it was sent again.
    """
    return [
        f"{_name(item)}: {text}; told {[answer.label for answer in answers.get(item.number, ())]}"
        for call in calls
        for item in call.items
        for text in _of_item(call, item, answers.get(item.number, ()), found, patience)
    ] + [*(_of_groups(calls, answers, found) if groups else ()), *_of_balances(calls, found)]


def _name(item: Planned) -> str:
    traits = " ".join(filter(None, (item.spoilt, "keyed" if item.keyed else "", "nap" if item.nap else "")))
    return f"write {item.number} ({item.kind}{' ' if traits else ''}{traits})"


def _counts(item: Planned, found: Found) -> list[int]:
    if item.kind == "mark":
        return [int(item.number in found.marks)]
    return [found.rows.get((item.number, part), 0) for part in range(len(item.parts))]


def _of_item(call: Call, item: Planned, told: Sequence[Answer], found: Found, patience: float) -> Iterator[str]:
    if not told:
        yield "no answer"
        return
    counts = _counts(item, found)
    yield from _of_answers(call, item, told, patience)
    if max(counts) > 1:
        yield f"found {counts} times"
    loose = any(answer.outcome is Outcome.PARTIAL for answer in told)
    loose = loose or (item.kind == "direct" and any(answer.outcome is Outcome.UNKNOWN for answer in told))
    if len(set(counts)) > 1 and not loose:
        yield f"done by half: {counts}"
    if any(answer.code == SUCCESS for answer in told):
        if min(counts) < 1:
            yield f"a success of which {counts} are there"
    elif all(answer.outcome is Outcome.NOT_APPLIED for answer in told) and max(counts) > 0:
        yield f"not applied, and {counts} are there"


def _of_answers(call: Call, item: Planned, told: Sequence[Answer], patience: float) -> Iterator[str]:
    open_before = False
    for at, answer in enumerate(told):
        if answer.code == ErrorCode.TIMEOUT and (
            answer.outcome is not Outcome.NOT_APPLIED or answer.phase in (Phase.COMMIT, Phase.DONE)
        ):
            yield f"a TIMEOUT with outcome {answer.outcome} in phase {answer.phase}"
        if answer.code == SUCCESS and item.spoilt:
            yield "a success of a write that cannot succeed"
        if answer.code == SUCCESS and answer.data != item.number and item.kind != "direct":
            yield f"a success with another's data: {answer.data!r}"
        if answer.replayed and not open_before and answer.attempts == 1:
            yield "a replay of a write that was said not to be there"
        # The requests of a batch may be in as many transactions, each with a timeout and a grace of its own.
        turns = len(call.items) if call.way == "many" else 1
        if at == 0 and answer.seconds > turns * (item.timeout + patience):
            yield f"{answer.seconds:.1f} s for a timeout of {item.timeout} s"
        if answer.reason in _OWN_FAULTS and not item.spoilt and not call.together:
            yield f"blamed for another's mistake ({answer.reason})"
        open_before = open_before or answer.outcome is not Outcome.NOT_APPLIED


def _of_groups(calls: Sequence[Call], answers: Mapping[int, Sequence[Answer]], found: Found) -> Iterator[str]:
    for call in calls:
        told = [answer for item in call.items for answer in answers.get(item.number, ())]
        counts = [count for item in call.together for count in _counts(item, found)]
        if len(set(counts)) > 1 and not any(answer.outcome is Outcome.PARTIAL for answer in told):
            labels = [answer.label for answer in told]
            yield f"{call.way} of {[item.number for item in call.items]}: some and not all: {counts}; told {labels}"


def _of_balances(calls: Sequence[Call], found: Found) -> Iterator[str]:
    expected: dict[int, int] = {}
    for item in (item for call in calls for item in call.items):
        for part, (account, amount) in enumerate(item.parts):
            if amount:
                expected[account] = expected.get(account, 0) + amount * found.rows.get((item.number, part), 0)
    for account in sorted(expected.keys() | found.balances.keys()):
        if expected.get(account, 0) != found.balances.get(account, 0):
            yield f"account {account}: its writes make {expected.get(account, 0)}, it has {found.balances.get(account)}"
