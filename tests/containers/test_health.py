"""Pings answer within their limit, in parallel, once per object, and tell nothing that could be secret."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from wellwired.clock import Clock
from wellwired.containers import Container, providers
from wellwired.containers._pings import Ping
from wellwired.containers.health import Health, HealthCheck, HealthStatus, summarised
from wellwired.testing.clock import VirtualClock

SECRET = "postgresql://admin:hunter2@db.internal/shop"


class Pool:
    """Stands for a pool; `ask` is what a ping of it does."""

    def __init__(self, ask: Callable[[], Any] = bool) -> None:
        self.ask = ask


class DatabaseDownError(Exception):
    """What a driver would raise."""


def ping(pool: Pool) -> None:
    """The declared ping."""
    pool.ask()


def down() -> None:
    """Fails as drivers do, with everything in its text."""
    raise DatabaseDownError(SECRET)


def resource(ask: Callable[[], Any] = bool, **options: Any) -> providers.Resource[Pool]:
    """A pool with a ping."""
    return providers.Resource(lambda: Pool(ask)).pinged_by(ping, **options)


def started(**made: Any) -> Any:
    """A running container of these providers."""
    return type("Shop", (Container,), made)().start()


@contextmanager
def hanging() -> Iterator[tuple[Callable[[], None], Callable[[], int], threading.Event]]:
    """What hangs until the block ends (or its event is set), and how often it was asked."""
    release, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        release.wait(30)

    try:
        yield hang, lambda: len(asked), release
    finally:
        release.set()


def test_all_is_well() -> None:
    """Every resource with a ping is asked, in the order of declaration, and those without are not mentioned."""
    with started(main=resource(), quiet=providers.Resource(Pool), cache=resource()) as shop:
        health = shop.health()
    assert health.status is HealthStatus.UP
    assert health.ok
    assert [(c.name, c.status, c.error) for c in health.checks] == [
        ("main", HealthStatus.UP, ""),
        ("cache", HealthStatus.UP, ""),
    ]


def test_members_of_families_are_asked_by_their_ids() -> None:
    """What the settings named is known by its dotted id."""
    family = providers.Named({"main": down, "audit": bool}, lambda key, ask: resource(ask))
    with started(sql=family) as shop:
        health = shop.health()
    assert {c.name: c.status for c in health.checks} == {"sql.main": HealthStatus.DOWN, "sql.audit": HealthStatus.UP}


def test_a_pool_inside_another_provider_is_asked_too() -> None:
    """A resource without a name of its own is described."""
    with started(user=providers.Singleton(list, providers.List(resource()))) as shop:
        assert [c.status for c in shop.health().checks] == [HealthStatus.UP]


def test_a_failing_ping_brings_the_container_down_and_tells_only_its_class() -> None:
    """No text of a driver is in the answer, whatever it is shown as."""
    with started(main=resource(down), cache=resource()) as shop:
        health = shop.health()
    assert health.status is HealthStatus.DOWN
    assert not health.ok
    assert health.checks[0].error == "DatabaseDownError"
    for shown in (repr(health), str(health), json.dumps(health.to_dict())):
        assert "hunter2" not in shown
        assert "db.internal" not in shown


def test_what_is_optional_only_degrades() -> None:
    """A failing cache is told and does not take the process out of service; a family is named as a whole."""
    family = providers.Named({"cache": down}, lambda key, ask: resource(ask))
    with started(main=resource(), redis=family) as shop:
        assert shop.health(optional=["redis"]).status is HealthStatus.DEGRADED
        assert shop.health(optional=["redis.cache"]).ok
        assert shop.health(optional=["redis.cach", "red"]).status is HealthStatus.DOWN


def test_liveness_asks_nobody() -> None:
    """A process whose database is down is alive, started or not."""
    with hanging() as (hang, asked, _):
        with started(main=resource(hang)) as shop:
            assert shop.health(liveness=True) == Health(HealthStatus.UP)
        assert asked() == 0
    assert type("Shop", (Container,), {"main": resource(down)})().health(liveness=True).ok


def test_what_is_not_open_is_down_and_stays_closed() -> None:
    """Readiness of a container that was not started says so, and opens nothing."""
    opened: list[int] = []
    closed = type("Shop", (Container,), {"main": providers.Resource(opened.append, 1).pinged_by(bool)})()
    health = closed.health()
    assert health.checks == (HealthCheck("main", HealthStatus.DOWN, error="not open"),)
    assert opened == []


def test_pings_are_sent_all_at_once() -> None:
    """Three pings that wait for each other all answer: none is sent after another."""
    together = threading.Barrier(3)
    pools = {f"p{n}": resource(lambda: together.wait(5)) for n in range(3)}
    with started(**pools) as shop:
        assert shop.health(timeout=10).ok


def test_a_hung_ping_is_given_up_at_the_limit() -> None:
    """The others are told as they are, and the whole answer takes no longer than the limit."""
    with hanging() as (hang, _, _release), started(slow=resource(hang), main=resource()) as shop:
        begun = time.monotonic()
        health = shop.health(timeout=0.05)
        assert time.monotonic() - begun < 2
    assert [(c.name, c.status, c.error) for c in health.checks] == [
        ("slow", HealthStatus.DOWN, "timed out"),
        ("main", HealthStatus.UP, ""),
    ]


def test_a_resource_has_a_limit_of_its_own() -> None:
    """The shorter of the two limits counts."""
    with hanging() as (hang, _, _release), started(slow=resource(hang, timeout=0.02)) as shop:
        begun = time.monotonic()
        assert shop.health(timeout=20).checks[0].error == "timed out"
        assert time.monotonic() - begun < 5


def test_a_hung_ping_is_not_sent_again() -> None:
    """However often it is asked for, one thread hangs and the answer says since when; then a new one is sent."""
    clock = VirtualClock()
    with hanging() as (hang, asked, release), started(slow=resource(hang)) as shop:
        assert shop.health(timeout=0.02, clock=clock).checks[0].error == "timed out"
        threads = threading.active_count()
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "wellwired-ping")
        clock.advance(30)
        answers = {shop.health(timeout=0, clock=clock).checks for _ in range(20)}
        assert answers == {(HealthCheck("slow", HealthStatus.DOWN, 30.0, "still hanging"),)}
        assert (asked(), threading.active_count()) == (1, threads)
        release.set()
        assert shop.health(timeout=10, clock=clock).ok
        assert shop.health(timeout=10, clock=clock).ok
        assert asked() >= 2


def test_callers_at_the_same_time_share_a_ping(mocker: MockerFixture) -> None:
    """A second prober joins the ping under way, and gets its answer."""
    waiting = mocker.spy(Ping, "outcome")
    with hanging() as (hang, asked, release), started(slow=resource(hang, timeout=20)) as shop:
        answers: list[Health] = []
        probers = [threading.Thread(target=lambda: answers.append(shop.health(timeout=20))) for _ in range(4)]
        for prober in probers:
            prober.start()
        while waiting.call_count < 4:
            threading.Event().wait(0.001)
        release.set()
        for prober in probers:
            prober.join()
        assert [answer.ok for answer in answers] == [True] * 4
        assert asked() == 1


def test_a_pool_that_was_opened_anew_is_not_held_to_the_hung_ping_of_the_old() -> None:
    """After a restart the question goes to the new object."""
    with hanging() as (hang, _, _release):
        asks: list[Callable[[], Any]] = [hang, bool]

        def opened() -> Pool:
            return Pool(asks.pop(0))

        with started(main=providers.Resource(opened).pinged_by(ping)) as shop:
            assert not shop.health(timeout=0.02).ok
            shop.stop()
            shop.start()
            assert shop.health(timeout=10).ok


def test_a_fake_is_pinged_if_it_can_be() -> None:
    """In a test a fake that takes the ping is asked, one that does not is unchecked, and neither says not open."""
    with started(main=resource(down)) as shop:
        with shop.overriding({"main": Pool()}):
            assert shop.health().checks[0].status is HealthStatus.UP
        with shop.overriding({"main": Pool(down)}):
            assert shop.health().checks[0].status is HealthStatus.DOWN
        with shop.overriding({"main": "no pool at all"}):
            health = shop.health()
            assert health.checks[0].status is HealthStatus.UNCHECKED
            assert health.checks[0].error == "AttributeError"
            assert health.ok
        with shop.overriding({"main": providers.Factory(Pool)}):
            assert shop.health().checks[0] == HealthCheck("main", HealthStatus.UNCHECKED, error="overridden")


def test_a_replacement_with_a_ping_of_its_own_is_asked_in_its_own_way() -> None:
    """A resource in the place of a resource is a pool like any other."""
    with started(main=resource(down)) as shop, shop.overriding({"main": resource()}):
        shop.main()
        assert [(c.name, c.status) for c in shop.health().checks] == [("main", HealthStatus.UP)]


def test_latency_is_that_of_the_clock() -> None:
    """The seconds of a check are those between question and answer."""
    clock = VirtualClock()
    with started(main=resource(lambda: clock.advance(0.25))) as shop:
        assert shop.health(clock=clock).checks[0].latency == 0.25


def test_a_ping_may_end_its_thread() -> None:
    """Even SystemExit in a ping is an answer, and ends nobody else."""

    def leave() -> None:
        raise SystemExit(1)

    with started(main=resource(leave)) as shop:
        assert shop.health().checks[0].error == "SystemExit"


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot start threads is told as down, not raised at the prober."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with started(main=resource()) as shop:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert shop.health().checks[0].error == "RuntimeError"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_sends_its_own_ping() -> None:
    """The hung thread of the parent is not in the child, which asks anew."""
    release = threading.Event()
    parent = os.getpid()

    def hang_in_parent() -> None:
        if os.getpid() == parent:
            release.wait(30)

    pool = providers.Resource(lambda: Pool(hang_in_parent)).pinged_by(ping).renewed_by(bool)
    with started(main=pool) as shop:
        assert not shop.health(timeout=0.02).ok
        if (child := os.fork()) == 0:
            os._exit(0 if shop.health(timeout=10).ok else 1)
        release.set()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_shown_for_people_and_for_json() -> None:
    """Both forms have the same facts."""
    health = Health(
        HealthStatus.DOWN,
        (
            HealthCheck("sql.main", HealthStatus.UP, 0.0012345678),
            HealthCheck("redis.cache", HealthStatus.DOWN, error="not open"),
        ),
    )
    assert str(health) == "down\n  sql.main: up 1.2 ms\n  redis.cache: down (not open)"
    assert health.to_dict() == {
        "status": "down",
        "checks": {
            "sql.main": {"status": "up", "latency": 0.001235},
            "redis.cache": {"status": "down", "error": "not open"},
        },
    }


@given(
    st.dictionaries(st.sampled_from(["sql.main", "sql.audit", "redis.cache", "redis"]), st.sampled_from(HealthStatus)),
    st.sets(st.sampled_from(["sql", "sql.main", "redis"])),
)
def test_one_rule_for_all_summaries(states: dict[str, HealthStatus], optional: set[str]) -> None:
    """Down if anything fails that is not optional, degraded if anything else fails, up otherwise."""
    health = summarised((HealthCheck(name, status) for name, status in states.items()), optional)
    failed = {name for name, status in states.items() if status is HealthStatus.DOWN}
    needed = {name for name in failed if name not in optional and name.partition(".")[0] not in optional}
    expected = HealthStatus.DOWN if needed else HealthStatus.DEGRADED if failed else HealthStatus.UP
    assert health.status is expected


def test_the_clock_is_any_clock() -> None:
    """The parameter is the protocol that everything else takes."""
    clock: Clock = VirtualClock()
    with started(main=resource()) as shop:
        assert shop.health(clock=clock).checks[0].latency == 0.0
