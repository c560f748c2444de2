"""Tests of the circuit breaker around attempts: what counts as evidence, and what an open circuit does to a write."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.middleware.kit import Scripted, never, operation, safe, timeout, unknown
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.middleware import (
    BreakerPolicy,
    BreakerState,
    CircuitChanged,
    Circuits,
    Notice,
    RetryBudget,
    RetryPolicy,
    WriteMiddleware,
    WriteNext,
    chain,
    retrying,
)
from wellwired.middleware.breaking import SICK_REASONS, blames
from wellwired.testing.clock import VirtualClock

POLICY = BreakerPolicy(window=10.0, calls=4, failures=0.5, pause=5.0, probes=2)


def late() -> WriteTimeoutError:
    """A deadline that had passed before anything was sent."""
    return WriteTimeoutError("too late", retry=Retry.SAFE, phase=Phase.ADMIT)


def slow() -> WriteTimeoutError:
    """An attempt that used its time up."""
    return WriteTimeoutError("too late", retry=Retry.SAFE, phase=Phase.EXECUTE)


def end(call: WriteNext, clock: VirtualClock, **fields: Any) -> WriteError | None:
    """How an attempt ends: None for well."""
    try:
        call(operation(clock, **fields))
    except WriteError as error:
        return error
    return None


@pytest.mark.parametrize("reason", sorted(SICK_REASONS))
def test_a_backend_that_is_away_or_full_is_blamed(reason: str) -> None:
    """Whatever its code, before COMMIT as after it."""
    assert blames(safe(reason, phase=Phase.EXECUTE)) is True
    assert blames(safe(reason, phase=Phase.CHECKOUT)) is True


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (unknown(phase=Phase.COMMIT), True),
        (slow(), True),
        (never("constraint", phase=Phase.EXECUTE), False),
        (never("duplicate", phase=Phase.COMMIT), False),
        (safe("deadlock", phase=Phase.EXECUTE), False),
        (never("statement", phase=Phase.EXECUTE), False),
        (InvalidRequestError("bad", phase=Phase.EXECUTE, reason="payload"), False),
        (late(), None),
        (timeout(), None),
        (never("handler", phase=Phase.EXECUTE), None),
        (never("writer", outcome=Outcome.UNKNOWN), None),
        (never("middleware", outcome=Outcome.UNKNOWN), None),
        (InvalidRequestError("bad"), None),
        (safe("circuit_open"), None),
    ],
)
def test_an_error_says_what_it_says_about_the_backend(error: WriteError, blamed: bool | None) -> None:
    """A refusal shows that it lives; a bug of ours shows nothing."""
    assert blames(error) is blamed


def test_a_circuit_opens_on_evidence_and_then_refuses_at_once(virtual_clock: VirtualClock) -> None:
    """Not applied, safe to send again, and with the time for which it would be in vain; nothing reaches the writer."""
    endpoint = Scripted(*(safe() for _ in range(4)))
    circuits = Circuits(POLICY)
    call = chain(endpoint, [circuits])
    for _ in range(4):
        end(call, virtual_clock)
    assert circuits.states() == {"sql.main": BreakerState.OPEN}
    virtual_clock.advance(1.0)
    error = end(call, virtual_clock)
    assert isinstance(error, BackendError)
    assert (error.reason, error.outcome, error.retry, error.phase) == (
        "circuit_open",
        Outcome.NOT_APPLIED,
        Retry.SAFE,
        Phase.ADMIT,
    )
    assert error.retry_after == 4.0
    assert "sql.main" in error.message
    assert pickle.loads(pickle.dumps(error)).retry_after == 4.0
    assert len(endpoint.seen) == 4


def test_each_writer_has_a_circuit_of_its_own(virtual_clock: VirtualClock) -> None:
    """One dead backend leaves the others alone, and the names of one backend share a circuit."""
    circuits = Circuits(POLICY)
    call = chain(Scripted(*(safe() for _ in range(4))), [circuits])
    for _ in range(4):
        end(call, virtual_clock)
    assert end(call, virtual_clock, writer="redis.cache") is None
    assert circuits.states() == {"sql.main": BreakerState.OPEN, "redis.cache": BreakerState.CLOSED}


def test_probes_close_it_again(virtual_clock: VirtualClock) -> None:
    """After its pause, when all of them succeeded; every change is told, with the evidence."""
    told: list[Notice] = []
    circuits = Circuits(POLICY, (told.append,))
    call = chain(Scripted(*(safe() for _ in range(4))), [circuits])
    for _ in range(4):
        end(call, virtual_clock)
    virtual_clock.advance(5.0)
    assert [end(call, virtual_clock) for _ in range(2)] == [None, None]
    assert circuits.states()["sql.main"] is BreakerState.CLOSED
    assert told[0] == CircuitChanged("sql.main", "closed", "open", 4, 4, 5.0)
    changes = [(one.was, one.state) for one in told if isinstance(one, CircuitChanged)]
    assert changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


def test_a_probe_that_says_nothing_makes_room_for_another(virtual_clock: VirtualClock) -> None:
    """A handler's bug, or a thread that is being ended, neither closes the circuit nor blocks it."""
    endpoint = Scripted(*(safe() for _ in range(4)), never("handler"), KeyboardInterrupt(), never("handler"))
    circuits = Circuits(POLICY)
    call = chain(endpoint, [circuits])
    for _ in range(4):
        end(call, virtual_clock)
    virtual_clock.advance(5.0)
    assert getattr(end(call, virtual_clock), "reason", "") == "handler"
    with pytest.raises(KeyboardInterrupt):
        call(operation(virtual_clock))
    assert getattr(end(call, virtual_clock), "reason", "") == "handler"
    assert circuits.states()["sql.main"] is BreakerState.HALF_OPEN
    assert [end(call, virtual_clock) for _ in range(2)] == [None, None]
    assert circuits.states()["sql.main"] is BreakerState.CLOSED


def test_a_retry_waits_for_the_circuit_if_the_deadline_allows(virtual_clock: VirtualClock) -> None:
    """The wait is what the circuit says, and the jitter on top of it."""
    endpoint = Scripted(*(safe() for _ in range(4)))
    circuits = Circuits(POLICY)
    layers: list[WriteMiddleware] = [
        circuits,
        retrying(RetryPolicy(attempts=2), clock=virtual_clock, random=lambda: 1.0),
    ]
    for _ in range(4):
        end(chain(endpoint, [circuits]), virtual_clock)
    assert end(chain(endpoint, layers), virtual_clock, timeout=6.0) is None
    assert virtual_clock.naps == [5.1]
    assert len(endpoint.seen) == 5


def test_a_retry_that_does_not_fit_is_not_waited_for(virtual_clock: VirtualClock) -> None:
    """The caller has its answer at once, without a sleep."""
    circuits = Circuits(POLICY)
    endpoint = Scripted(*(safe() for _ in range(4)))
    for _ in range(4):
        end(chain(endpoint, [circuits]), virtual_clock)
    layers: list[WriteMiddleware] = [
        circuits,
        retrying(RetryPolicy(attempts=3), clock=virtual_clock, random=lambda: 1.0),
    ]
    error = end(chain(endpoint, layers), virtual_clock, timeout=5.0)
    assert error is not None
    assert (error.reason, error.retry_after) == ("circuit_open", 5.0)
    assert virtual_clock.naps == []


def test_a_circuit_that_opens_between_two_attempts_ends_the_retries(virtual_clock: VirtualClock) -> None:
    """The last error keeps what it knows, and the number of attempts is true."""
    layers: list[WriteMiddleware] = [
        Circuits(BreakerPolicy(window=10, calls=2, failures=1.0, pause=60.0)),
        retrying(RetryPolicy(attempts=5), clock=virtual_clock, random=lambda: 0.0),
    ]
    error = end(chain(Scripted(*(safe() for _ in range(9))), layers), virtual_clock)
    assert error is not None
    assert (error.code, error.outcome, error.reason) == ("RETRY_EXHAUSTED", Outcome.NOT_APPLIED, "deadline")
    assert error.retry_after == 60.0


healthy = st.sampled_from(
    [
        lambda: never("constraint", phase=Phase.EXECUTE),
        lambda: safe("deadlock", phase=Phase.EXECUTE),
        lambda: never("handler", phase=Phase.EXECUTE),
        late,
    ]
)


@given(st.lists(healthy, max_size=60), st.lists(st.floats(0, 3), min_size=60, max_size=60))
def test_bad_data_never_opens_a_circuit(errors: list[Any], pauses: list[float]) -> None:
    """However much of it comes, and in whatever time."""
    clock, circuits = VirtualClock(), Circuits(BreakerPolicy(calls=1, failures=0.01))
    call = chain(Scripted(*(make() for make in errors)), [circuits])
    for _, pause in zip(errors, pauses, strict=False):
        clock.advance(pause)
        assert getattr(end(call, clock), "reason", "") != "circuit_open"


@given(st.lists(st.tuples(st.sampled_from(["ok", "sick", "bug"]), st.floats(0, 4)), max_size=120))
def test_a_circuit_keeps_its_word_whatever_comes(steps: list[tuple[str, float]]) -> None:
    """Open, it lets nothing through before its pause is over; it opens only on a sick attempt; each change is told."""
    clock, told = VirtualClock(), list[Notice]()
    circuits = Circuits(POLICY, (told.append,))
    makers = {"sick": safe, "bug": lambda: never("handler")}
    opened = float("-inf")
    for kind, pause in steps:
        clock.advance(pause)
        endpoint = Scripted(*([makers[kind]()] if kind in makers else []))
        before = circuits.states().get("sql.main", BreakerState.CLOSED)
        error = end(chain(endpoint, [circuits]), clock)
        after = circuits.states()["sql.main"]
        if before is BreakerState.OPEN and clock.monotonic() - opened < POLICY.pause:
            assert endpoint.seen == []
            assert error is not None and error.reason == "circuit_open"
            assert error.retry_after == pytest.approx(opened + POLICY.pause - clock.monotonic())
        if after is BreakerState.OPEN and endpoint.seen:
            assert kind == "sick"
            opened = clock.monotonic()
    states = ["closed", *(one.state for one in told if isinstance(one, CircuitChanged))]
    assert all(one != other for one, other in itertools.pairwise(states))
    if told:
        assert states[-1] == circuits.states()["sql.main"].value


def test_racing_threads_are_told_of_once(virtual_clock: VirtualClock) -> None:
    """A circuit that opens under many threads opens once."""
    told: list[Notice] = []
    circuits, start = Circuits(POLICY, (told.append,)), threading.Barrier(8)
    call = chain(Scripted(*(safe() for _ in range(400))), [circuits])

    def work() -> None:
        start.wait()
        for _ in range(50):
            end(call, virtual_clock)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.was, one.state) for one in told if isinstance(one, CircuitChanged)] == [("closed", "open")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_can_use_what_the_parent_held(virtual_clock: VirtualClock) -> None:
    """The locks are open there, and the state is the parent's."""
    circuits = Circuits(POLICY)
    call = chain(Scripted(*(safe() for _ in range(4))), [circuits])
    for _ in range(4):
        end(call, virtual_clock)
    circuit = circuits._of("sql.main")
    with circuit._telling, circuit.breaker._lock:
        circuits.renew()
        virtual_clock.advance(5.0)
        assert [end(call, virtual_clock) for _ in range(2)] == [None, None]
    assert circuits.states()["sql.main"] is BreakerState.CLOSED


def test_an_open_circuit_pays_for_its_retries_like_any_other(virtual_clock: VirtualClock) -> None:
    """A crowd that waits for a circuit is bounded by the budget."""
    budget = RetryBudget(5, cost=5)
    circuits = Circuits(BreakerPolicy(calls=1, failures=1.0, pause=1.0))
    end(chain(Scripted(safe()), [circuits]), virtual_clock)
    assert budget.spend("sql.main", safe())
    layers: list[WriteMiddleware] = [circuits, retrying(clock=virtual_clock, random=lambda: 0.0, budget=budget)]
    assert getattr(end(chain(Scripted(), layers), virtual_clock), "reason", "") == "circuit_open"
    assert virtual_clock.naps == []
