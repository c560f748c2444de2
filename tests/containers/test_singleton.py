"""Tests of Singleton: one object whatever the race, its own lock, and calls that stay in C."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from dependency_injector import providers as di

from tests.containers.racing import race, race_all
from wellwired.containers import Container, providers
from wellwired.errors import CycleError, DeclarationError


class Thing:
    """An object with an identity."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


@pytest.mark.parametrize("round_", range(40))
def test_racing_threads_get_one_object(round_: int) -> None:
    """Eight threads that ask at the same moment are given the same object, built once."""
    built: list[Thing] = []
    inside = threading.Event()

    def build() -> Thing:
        # Long enough for every thread to arrive while the constructor is at work.
        inside.wait(0.001)
        built.append(Thing())
        return built[-1]

    single = providers.Singleton(build)
    found = race(single)
    assert len(built) == 1
    assert all(one is built[0] for one in found)


def test_a_race_through_dependencies_builds_each_once() -> None:
    """Threads that ask for different dependents of one singleton still build that one once."""
    built: list[str] = []

    def made(name: str, *needs: Any) -> str:
        built.append(name)
        return name

    bottom = providers.Singleton(made, "bottom")
    left = providers.Singleton(made, "left", bottom)
    right = providers.Singleton(made, "right", bottom)
    top = providers.Singleton(made, "top", left, right)
    race_all([top, left, right, bottom] * 2)
    assert sorted(built) == ["bottom", "left", "right", "top"]


def test_reset_while_threads_ask_never_serves_two_objects_for_long() -> None:
    """After a storm of resets and calls all threads agree on one object again."""
    single = providers.Singleton(Thing)
    stop = threading.Event()

    def resetting() -> None:
        for _ in range(300):
            single.reset()
        stop.set()

    def asking() -> None:
        while not stop.is_set():
            single()

    race_all([resetting, asking, asking, asking])
    assert len({id(one) for one in race(single)}) == 1


def test_a_slow_constructor_keeps_nobody_else_waiting() -> None:
    """Another singleton answers while one is being built: locks are per provider."""
    entered, release = threading.Event(), threading.Event()

    def slow() -> str:
        entered.set()
        assert release.wait(10)
        return "slow"

    slow_one, quick_one = providers.Singleton(slow), providers.Singleton(Thing)
    thread = threading.Thread(target=slow_one)
    thread.start()
    try:
        assert entered.wait(10)
        answered = threading.Event()

        def quick() -> None:
            quick_one()
            answered.set()

        threading.Thread(target=quick, daemon=True).start()
        assert answered.wait(5), "an unrelated singleton waited for the slow one"
    finally:
        release.set()
        thread.join(10)


def test_a_constructor_may_wait_for_a_thread_that_needs_another_singleton() -> None:
    """What deadlocks with one lock for all singletons works with one for each."""
    other = providers.Singleton(Thing)

    def build() -> Any:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(other()), daemon=True)
        thread.start()
        thread.join(5)
        return answers

    assert providers.Singleton(build)() == [other()]


@pytest.mark.parametrize("value", [None, 0, "", False, [], ()])
def test_a_falsy_object_is_built_once_too(value: Any) -> None:
    """None and other falsy objects are objects like any other."""
    built: list[Any] = []

    def build() -> Any:
        built.append(1)
        return value

    single = providers.Singleton(build)
    assert single() is value and single() is value
    assert built == [1]


def test_arguments_of_later_calls_do_not_count() -> None:
    """The call that builds decides; later arguments are taken without effect, as dependency-injector does."""
    single = providers.Singleton(Thing, "declared", named=1)
    first = single("given", extra=2)
    assert first.args == ("declared", "given") and first.kwargs == {"named": 1, "extra": 2}
    assert single("other", more=3) is first


def test_providers_among_the_arguments_are_called_and_attributes_are_set() -> None:
    """Declared the way dependency-injector declares, attributes included."""
    single = providers.Singleton(Thing, providers.Object(1), key=providers.Object(2))
    single.add_attributes(colour=providers.Object("red"))
    thing: Any = single()
    assert (thing.args, thing.kwargs, thing.colour) == ((1,), {"key": 2}, "red")


def test_a_failed_construction_is_tried_again() -> None:
    """An exception is nobody's object."""
    attempts: list[int] = []

    def build() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("not yet")
        return "built"

    single = providers.Singleton(build)
    with pytest.raises(OSError, match="not yet"):
        single()
    assert not single.created
    assert single() == "built" and single.created


def test_reset_builds_anew() -> None:
    """After reset() the next call builds another object."""
    single = providers.Singleton(Thing)
    first = single()
    single.reset()
    assert not single.created
    assert single() is not first


def test_an_override_is_seen_by_the_very_next_call() -> None:
    """Serving from C does not outlive an override, nor an override its end."""
    single = providers.Singleton(Thing)
    real = single()
    for _ in range(3):
        with single.override("fake"):
            assert single() == "fake" and single() == "fake"
            with single.override("inner"):
                assert single() == "inner"
            assert single() == "fake"
        assert single() is real and single() is real


def test_an_override_in_the_middle_of_a_construction_wins() -> None:
    """An override that comes while the object is being built is not served past."""
    single: providers.Singleton[str] = providers.Singleton(lambda: single.override("fake") and "real")
    assert single() == "real"
    assert single() == "fake"


def test_an_override_by_threads_is_seen_at_once() -> None:
    """However the threads interleave, a call after an override began never gives the real object."""
    single = providers.Singleton(Thing)
    wrong: list[Any] = []

    def overriding() -> None:
        for _ in range(300):
            single.reset()
            with single.override("fake"):
                if (seen := single()) != "fake":
                    wrong.append(seen)

    def asking() -> None:
        for _ in range(3000):
            single()

    race_all([overriding, asking, asking])
    assert wrong == []


def test_a_copy_has_a_life_of_its_own() -> None:
    """A container's copy of a built singleton builds its own object with its own lock."""
    single = providers.Singleton(Thing)
    original = single()
    copied = di.deepcopy(single)
    assert not copied.created
    assert copied() is not original and single() is original


def test_one_that_needs_itself_says_so() -> None:
    """A ring that only shows at run time is a CycleError with the name, not a RecursionError."""

    class Ring(Container):
        thing = providers.Singleton(lambda: ring.thing())  # noqa: PLW0108

    ring = Ring()
    with pytest.raises(CycleError, match="thing -> thing"):
        ring.thing()


def test_a_coroutine_function_is_refused() -> None:
    """An asynchronous constructor would leave every dependent with a future; the error says what to do instead."""

    async def build() -> Thing:
        return Thing()

    single: providers.Singleton[Any] = providers.Singleton(build)
    with pytest.raises(DeclarationError, match=r"asynchronous.*without awaiting"):
        single()


def test_a_future_is_refused() -> None:
    """A dependency that is a future would be cached as one for ever."""

    async def main() -> None:
        waiting = asyncio.get_running_loop().create_future()
        with pytest.raises(DeclarationError, match="asynchronous"):
            providers.Singleton(lambda: waiting)()

    asyncio.run(main())


def test_an_awaitable_object_is_no_coroutine() -> None:
    """Clients that may be awaited, such as redis.asyncio's, are ordinary objects to a container."""

    class Client:
        def __await__(self) -> Any:
            yield

    single = providers.Singleton(Client)
    assert single() is single()


def test_it_serves_from_c() -> None:
    """Once built, what a call reaches is dependency-injector's own compiled Object provider."""
    single = providers.Singleton(Thing)
    single()
    assert type(single.__call__) is di.Object
    single.reset()
    assert type(single.__call__) is not di.Object


def test_it_is_the_singleton_that_dependency_injector_knows() -> None:
    """Libraries that look for dependency-injector's class find it."""
    single = providers.Singleton(Thing)
    assert isinstance(single, di.Singleton)
    assert single.provides is Thing and single.cls is Thing
    assert providers.Singleton[int] is providers.Singleton
