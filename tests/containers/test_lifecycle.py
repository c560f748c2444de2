"""Tests of start and stop: the journal, rollback, what is forgotten, and who may close what."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers as di

from tests.containers.racing import race
from wellwired.containers import Container, providers, scope
from wellwired.errors import StateError

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


def part(name: str, *needs: Any) -> Iterator[str]:
    """A resource that writes down its life."""
    LOG.append(f"open {name}")
    yield name
    LOG.append(f"close {name}")


class Service:
    """A singleton that captures what it is given."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool


class Shop(Container):
    """A pool, a service on it, and a worker that reaches the pool only through the service."""

    worker = providers.Resource(part, "worker", providers.Singleton(dict[str, Any], x=1))
    pool = providers.Resource(part, "pool")
    service = providers.Singleton(Service, pool)
    consumer = providers.Resource(part, "consumer", service)


def test_start_opens_in_dependency_order_and_stop_closes_in_reverse() -> None:
    """Needs through a singleton count; the rest follows the declaration."""
    shop = Shop()
    assert not shop.started
    assert shop.start() is shop and shop.started
    shop.stop()
    assert not shop.started
    assert LOG == ["open worker", "open pool", "open consumer", "close consumer", "close pool", "close worker"]


def test_starting_again_changes_nothing() -> None:
    """A started container is left as it is, and so is a stopped one by stop()."""
    shop = Shop()
    shop.stop()
    shop.start().start()
    assert LOG.count("open pool") == 1
    shop.stop()
    shop.stop()
    assert LOG.count("close pool") == 1


def test_racing_starts_open_once() -> None:
    """Eight threads that start the container start it once; eight that stop it stop it once."""
    shop = Shop()
    assert race(shop.start) == [shop] * 8
    assert len(LOG) == 3
    assert race(shop.stop) == [None] * 8
    assert len(LOG) == 6


def test_what_captured_a_closed_resource_is_forgotten() -> None:
    """After stop and start a singleton has the new pool; one that needs none stays the same object."""

    class More(Shop):
        clock = providers.Singleton(object)

    more = More().start()
    service, clock = more.service(), more.clock()
    more.stop()
    with more:
        assert more.service() is not service and more.clock() is clock


def test_as_a_context_manager() -> None:
    """Started on entry, stopped on exit, whatever ended the block."""
    with Shop() as shop:
        assert shop.started
    assert not shop.started
    with pytest.raises(ValueError, match="body"), shop:
        raise ValueError("body")
    assert not shop.started and LOG.count("close pool") == 2


def refusing(name: str) -> Iterator[str]:
    """A resource whose closing fails."""
    yield name
    raise OSError(f"{name} refuses")


class Refusing(Container):
    """Two resources that do not close well around one that does."""

    first = providers.Resource(refusing, "first")
    pool = providers.Resource(part, "pool")
    last = providers.Resource(refusing, "last")


def test_the_failures_of_stop_come_together() -> None:
    """Every closing is tried; each failure names its resource, and the group its container."""
    refused = Refusing().start()
    with pytest.raises(ExceptionGroup, match="stopping Refusing failed in part") as caught:
        refused.stop()
    assert [str(one) for one in caught.value.exceptions] == ["last refuses", "first refuses"]
    assert caught.value.exceptions[0].__notes__ == ["while closing last"]
    assert LOG == ["open pool", "close pool"]
    refused.stop()


def test_a_failing_stop_does_not_hide_the_error_of_the_block() -> None:
    """The block's own error comes out, with a note for each failed closing."""
    with pytest.raises(ValueError, match="body") as caught, Refusing():
        raise ValueError("body")
    assert caught.value.__notes__ == ["stopping Refusing failed too: OSError"] * 2
    with pytest.raises(ExceptionGroup), Refusing():
        pass


def test_a_failing_check_opens_nothing() -> None:
    """Every fault is found before anything is opened."""

    class Faulty(Shop):
        missing = providers.Dependency(instance_of=int)

    with pytest.raises(ExceptionGroup, match="Faulty"):
        Faulty().start()
    assert LOG == []


def test_a_failed_start_keeps_what_was_open_before() -> None:
    """Only what this start opened is closed again."""

    def failing() -> None:
        raise OSError("no")

    class Failing(Container):
        early = providers.Resource(part, "early")
        pool = providers.Resource(part, "pool")
        bad = providers.Resource(failing)

    container = Failing()
    container.early()
    with pytest.raises(OSError, match="no"):
        container.start()
    assert LOG == ["open early", "open pool", "close pool"]
    container.stop()
    assert LOG[-1] == "close early"


def test_an_interrupt_in_start_rolls_back_too() -> None:
    """Not only exceptions: a KeyboardInterrupt leaves nothing open either."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    class Interrupted(Container):
        pool = providers.Resource(part, "pool")
        bad = providers.Resource(interrupted)

    container = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        container.start()
    assert LOG == ["open pool", "close pool"]


def test_what_is_opened_at_first_use_is_closed_by_stop() -> None:
    """The journal is written by the resources, whoever opens them, before or after start."""
    shop = Shop()
    shop.consumer()
    shop.stop()
    assert LOG == ["open pool", "open consumer", "close consumer", "close pool"]


def lazy(pool: Any) -> Iterator[Any]:
    """A resource that opens another through its provider, long after it was opened itself."""
    LOG.append("open lazy")
    yield pool
    LOG.append("close lazy")


def test_what_a_user_opened_late_is_closed_after_it() -> None:
    """The order of opening does not decide alone: nothing is closed before what needs it."""

    class Lazy(Container):
        worker = providers.Resource(lazy, di.Resource(part, "hidden").provider)
        pool = providers.Resource(part, "pool")
        late = providers.Resource(lazy, pool.provider)

    container = Lazy()
    container.worker()()
    container.late()()
    container.stop()
    assert LOG.index("close lazy") < LOG.index("close pool") and LOG.index("close lazy") < LOG.index("close hidden")
    assert LOG.count("close lazy") == 2 and LOG[-1] in {"close pool", "close hidden"}


def test_shutting_one_closes_its_users_first() -> None:
    """Closing the pool alone closes what stands on it, and what captured it is built anew."""
    with Shop() as shop:
        service = shop.service()
        shop.pool.shutdown()
        assert LOG[-2:] == ["close consumer", "close pool"]
        assert shop.service() is not service
        assert shop.worker.initialized


def test_shutting_one_reports_what_failed() -> None:
    """Failures of the closings come together, here too."""
    refused = Refusing().start()
    with pytest.raises(ExceptionGroup, match="closing first failed in part"):
        refused.first.shutdown()
    with pytest.raises(ExceptionGroup, match="stopping"):
        refused.stop()


def test_an_overridden_resource_is_not_opened() -> None:
    """A test that replaces the pool needs no pool; what reaches it elsewhere is opened as always."""
    shop = Shop(pool="fake")
    with shop:
        assert LOG == ["open worker", "open consumer"]
        assert shop.service().pool == "fake"


def test_a_selector_opens_only_what_is_selected() -> None:
    """Branches without a name of their own wait until they are asked for, and are closed by stop()."""

    class Choosing(Container):
        which = providers.Object("left")
        pool = providers.Selector(which, left=providers.Resource(part, "left"), right=providers.Resource(part, "right"))

    with Choosing() as choosing:
        assert LOG == []
        assert choosing.pool() == "left"
    assert LOG == ["open left", "close left"]


def test_unnamed_resources_are_opened_too() -> None:
    """A resource written into another provider's arguments belongs to the container like any other."""

    class Inline(Container):
        service = providers.Singleton(Service, providers.Resource(part, "inline"))

    with Inline():
        assert LOG == ["open inline"]
    assert LOG == ["open inline", "close inline"]


def test_nested_containers_live_with_the_outer_one() -> None:
    """Resources of a nested container are opened and closed with the others, in order."""

    class Core(Container):
        pool = providers.Resource(part, "core pool")

    class App(Container):
        core = providers.Container(Core)
        worker = providers.Resource(part, "worker", core.pool)

    app = App()
    with app:
        assert LOG == ["open core pool", "open worker"]
        for method in ("start", "stop"):
            with pytest.raises(StateError, match="Core is nested in another container"):
                getattr(app.core(), method)()
        with pytest.raises(StateError, match="nested"):
            app.core().overriding({})
    assert LOG[2:] == ["close worker", "close core pool"]


def test_resources_of_dependency_injector_itself_are_kept_in_order() -> None:
    """Its own Resource, imported from there, is opened, journalled and closed with ours."""

    class Mixed(Container):
        pool = di.Resource(part, "foreign")
        worker = providers.Resource(part, "worker", pool)

    with Mixed():
        assert LOG == ["open foreign", "open worker"]
    assert LOG[2:] == ["close worker", "close foreign"]
    mixed = Mixed()
    mixed.pool()
    mixed.stop()
    assert LOG[-1] == "close foreign"


def test_an_asynchronous_resource_of_dependency_injector_is_refused() -> None:
    """start() is synchronous and says so instead of leaving a future behind."""

    async def connect() -> str:
        return "connected"

    class Async(Container):
        pool = di.Resource(connect)

    async def main() -> None:
        container = Async()
        with pytest.raises(StateError, match="asynchronous"):
            container.start()
        closing: Any = container.pool.shutdown()
        await closing

    import asyncio

    asyncio.run(main())


def test_dropping_an_open_container_warns() -> None:
    """A container that was never stopped says at its end which resources it leaves open."""
    shop = Shop().start()
    shop._life.journal.remove(shop.consumer)
    with pytest.warns(ResourceWarning, match="dropped while open: worker, pool; stop it"):
        shop._life.journal.__del__()
    shop.stop()
    shop.consumer.close()


def test_a_stopped_container_is_dropped_in_silence() -> None:
    """With warnings as errors, as in this suite, nothing is said of a container that was stopped."""
    with Shop() as shop:
        journal = shop._life.journal
    journal.__del__()


def test_stop_at_exit_closes_when_the_interpreter_ends() -> None:
    """The interpreter's end closes what is open; a child forked meanwhile closes only its own."""
    code = """
import os, sys
from wellwired.containers import Container, providers
def part(name):
    print("open", name, flush=True)
    yield name
    print("close", name, os.getpid() == parent, flush=True)
class Shop(Container):
    pool = providers.Resource(part, "pool")
parent = os.getpid()
shop = Shop().start().stop_at_exit()
if os.fork() == 0:
    sys.exit()
os.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50, env={**os.environ}
    )
    assert done.stdout.split("\n") == ["open pool", "close pool True", ""]


def test_a_dropped_container_is_not_kept_by_stop_at_exit() -> None:
    """Registering for the end of the interpreter keeps no container alive."""
    import gc
    import weakref

    shop = Shop().stop_at_exit()
    gone = weakref.ref(shop)
    del shop
    gc.collect()
    assert gone() is None


def test_a_container_and_all_it_made_are_freed() -> None:
    """Two hundred containers leave nothing behind: no lifecycle, no provider, no lock is kept anywhere."""
    import gc

    def alive() -> int:
        gc.collect()
        # By its type: to be asked with `isinstance`, a proxy that another test has left may raise.
        return sum(issubclass(type(one), (di.Provider, Container)) for one in gc.get_objects())

    def live() -> None:
        with Shop() as shop, shop.overriding({"pool": "fake"}), scope():
            shop.service()

    live()
    before = alive()
    for _ in range(200):
        live()
    assert alive() <= before


def test_a_lifecycle_waits_for_nobody_but_itself() -> None:
    """While one container starts slowly, another starts and stops."""
    entered, release = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        assert release.wait(10)

    class Slow(Container):
        pool = providers.Resource(slow)

    slow_one = Slow()
    thread = threading.Thread(target=slow_one.start)
    thread.start()
    try:
        assert entered.wait(10)
        with Shop() as shop:
            assert shop.started
    finally:
        release.set()
        thread.join(10)
        slow_one.stop()
