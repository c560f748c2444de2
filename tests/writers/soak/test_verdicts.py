"""The comparison of answers and rows: every kind of lie is seen, and the truth is let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.writers.proxy import Fault
from tests.writers.soak.plan import FaultPlan, Trouble, disturbances
from tests.writers.soak.verdicts import Answer, Found, violations
from tests.writers.soak.workload import Call, Planned, Way, calls
from tests.writers.wire import Message, Moment
from wellwired.errors import Outcome, Phase

DONE = Answer(data=1)
REPLAYED = Answer(data=1, replayed=True)
NOT_APPLIED = Answer("BACKEND", Outcome.NOT_APPLIED, Phase.EXECUTE)
TIMEOUT = Answer("TIMEOUT", Outcome.NOT_APPLIED, Phase.EXECUTE)
UNKNOWN = Answer("BACKEND", Outcome.UNKNOWN, Phase.COMMIT)
PARTIAL = Answer("BACKEND", Outcome.PARTIAL, Phase.COMMIT)
TWO = Planned(1, parts=((0, 0), (0, 0)))


def judged(told: list[Answer], rows: dict[tuple[int, int], int], item: Planned = TWO, way: Way = "write") -> list[str]:
    """What is said of one write."""
    return violations([Call(way, (item,))], {1: told}, Found(rows), patience=1.0)


NONE: dict[tuple[int, int], int] = {}
ONCE = {(1, 0): 1, (1, 1): 1}
TWICE = {(1, 0): 2, (1, 1): 2}
HALF = {(1, 0): 1}


@pytest.mark.parametrize(
    ("told", "rows"),
    [
        ([DONE], ONCE),
        ([NOT_APPLIED], NONE),
        ([TIMEOUT], NONE),
        ([UNKNOWN], NONE),
        ([UNKNOWN], ONCE),
        ([PARTIAL], HALF),
        ([UNKNOWN, REPLAYED], ONCE),
        ([NOT_APPLIED, DONE], ONCE),
    ],
)
def test_the_truth_is_let_through(told: list[Answer], rows: dict[tuple[int, int], int]) -> None:
    """What may follow from an answer is no violation."""
    assert judged(told, rows) == []


@pytest.mark.parametrize(
    ("told", "rows", "words"),
    [
        ([DONE], NONE, "a success of which"),
        ([DONE], TWICE, "times"),
        ([DONE], HALF, "by half"),
        ([NOT_APPLIED], ONCE, "not applied, and"),
        ([TIMEOUT], ONCE, "not applied, and"),
        ([NOT_APPLIED], HALF, "by half"),
        ([UNKNOWN], TWICE, "times"),
        ([UNKNOWN], HALF, "by half"),
        ([UNKNOWN, DONE], TWICE, "times"),
        ([NOT_APPLIED, REPLAYED], ONCE, "said not to be there"),
        ([Answer(data=2)], ONCE, "another's data"),
        ([Answer(data=1, seconds=7.0)], ONCE, "7.0 s for a timeout"),
        ([Answer("TIMEOUT", Outcome.UNKNOWN, Phase.EXECUTE)], NONE, "a TIMEOUT with"),
        ([Answer("TIMEOUT", Outcome.NOT_APPLIED, Phase.COMMIT)], NONE, "a TIMEOUT with"),
        ([], NONE, "no answer"),
    ],
)
def test_a_lie_is_seen(told: list[Answer], rows: dict[tuple[int, int], int], words: str) -> None:
    """Each kind of lie has its sentence, which names the write and what was told."""
    lies = judged(told, rows)

    assert any(words in text and text.startswith("write 1") for text in lies), lies


def test_a_success_that_cannot_be_is_seen() -> None:
    """A write with a mistake in it must fail."""
    assert any("cannot succeed" in text for text in judged([DONE], ONCE, Planned(1, spoilt="check")))


def test_a_balance_that_does_not_fit_is_seen() -> None:
    """An amount that was moved without its row, or a row without its amount."""
    call = Call("write", (Planned(1, parts=((1, -5), (2, 5))),))

    assert violations([call], {1: [DONE]}, Found(ONCE, balances={1: -5, 2: 5}), patience=1.0) == []
    assert len(violations([call], {1: [DONE]}, Found(ONCE, balances={1: -5}), patience=1.0)) == 1


@pytest.mark.parametrize("way", ["atomic", "transaction"])
def test_some_of_what_belongs_together_is_seen(way: Way) -> None:
    """Of a transaction's writes all are there or none, even if nobody knows which."""
    call = Call(way, (Planned(1), Planned(2)))
    told = {1: [UNKNOWN], 2: [UNKNOWN]}

    assert violations([call], told, Found({(1, 0): 1, (2, 0): 1}), patience=1.0) == []
    assert any("some and not all" in text for text in violations([call], told, Found({(1, 0): 1}), patience=1.0))


def test_whom_a_neighbours_mistake_is_blamed_on_is_seen() -> None:
    """In a batch only the write with the mistake may be refused for it."""
    call = Call("many", (Planned(1, spoilt="check"), Planned(2)))
    refused = Answer("BACKEND", Outcome.NOT_APPLIED, Phase.EXECUTE, "constraint")

    assert violations([call], {1: [refused], 2: [Answer(data=2)]}, Found({(2, 0): 1}), patience=1.0) == []
    assert len(violations([call], {1: [refused], 2: [refused]}, Found(), patience=1.0)) == 1


@given(st.integers(), st.integers(0, 50), st.sampled_from(list(Moment)), st.integers(0, 9))
def test_a_plan_is_a_function_of_its_seed(seed: int, number: int, moment: Moment, before: int) -> None:
    """The same seed has the same faults, and a fault at a connection's beginning is one that can be."""
    message = Message(moment, b"")
    hit = FaultPlan(seed, {moment: 0.5}).judge(number, before, message)

    assert hit == FaultPlan(seed, {moment: 0.5}).judge(number, before, message)
    assert FaultPlan(seed, {}).judge(number, before, message) is None
    if hit is not None and moment is Moment.CONNECT:
        assert hit.fault not in {Fault.TEAR, Fault.LOSE_ANSWER, Fault.NO_ANSWER, Fault.LATE_ANSWER}


@given(st.integers(), st.integers(1, 200), st.sampled_from(["sql", "redis"]))
def test_a_workload_is_a_function_of_its_seed(seed: int, writes: int, backend: str) -> None:
    """The same seed has the same calls, each write has a number of its own, and no amount is lost on the way."""
    made = calls(seed, writes, backend)
    items = [item for call in made for item in call.items]

    assert made == calls(seed, writes, backend)
    assert [item.number for item in items] == list(range(writes))
    assert all(sum(amount for _, amount in item.parts) == 0 for item in items)


def test_every_trouble_comes_in_turn() -> None:
    """A server is killed, stopped and paused, in the order of the run."""
    made = disturbances(7, 6)

    assert [each.trouble for each in made[:3]] == [each.trouble for each in made[3:]]
    assert {each.trouble for each in made} == set(Trouble)
    assert [each.after for each in made] == sorted(each.after for each in made)
