"""Tests of overriding: names first, exact restoration in any order, and nobody keeps a fake (C3)."""

# What stands in for an object is of another type on purpose.
# mypy: disable-error-code="comparison-overlap,unreachable,redundant-expr"

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from dependency_injector import providers as di

from tests.containers.racing import race, race_all
from wellwired.containers import Container, providers, scope
from wellwired.errors import OverrideError, StateError, UnknownProviderError

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


class Settings:
    """Settings with two databases."""

    def __init__(self, **sql: str) -> None:
        self.sql = sql or {"main": "one", "audit": "two"}


def pool(url: str) -> Iterator[str]:
    """A resource that writes down its life."""
    LOG.append(f"open {url}")
    yield f"pool {url}"
    LOG.append(f"close {url}")


def consumer(service: Any) -> Iterator[list[Any]]:
    """A resource on top of a singleton."""
    LOG.append("open consumer")
    yield [service]
    LOG.append("close consumer")


class Shop(Container):
    """Settings, a family of pools, a chain of singletons, and a resource on top."""

    settings = providers.Singleton(Settings)
    sql = providers.Named(
        settings.provided.sql, lambda key, url: providers.Resource(pool, url), variable="WELLWIRED__SQL__{key}__URL"
    )
    repo = providers.Singleton(dict[str, Any], pool=sql["main"])
    service = providers.Singleton(dict[str, Any], repo=repo)
    consumer = providers.Resource(consumer, service)
    clock = providers.Singleton(object)
    session = providers.Scoped(dict[str, Any], repo=repo)


def pool_of(shop: Shop) -> Any:
    """The pool that the service really has."""
    return shop.service()["repo"]["pool"]


def untouched(shop: Shop) -> bool:
    """Whether nothing is overridden."""
    return not any(provider.overridden for provider in shop.ids().values())


def test_inside_everything_has_the_stand_in_and_afterwards_nothing() -> None:
    """Dependents built before, inside and after see what they should."""
    shop = Shop()
    real = shop.service()
    with shop.overriding({"sql.main": "fake"}) as same:
        assert same is shop
        assert pool_of(shop) == "fake" and shop.sql()["main"] == "fake"
        assert shop.sql["audit"]() == "pool two"
        inside = shop.service()
    assert pool_of(shop) == "pool one"
    assert shop.service() is not real and shop.service() is not inside
    assert untouched(shop)
    shop.stop()


def test_what_does_not_depend_on_it_stays() -> None:
    """A singleton elsewhere is the same object before, inside and after; an open resource stays open."""
    with Shop() as shop:
        clock = shop.clock()
        LOG.clear()
        with shop.overriding({"sql.main": "fake"}):
            assert shop.clock() is clock
        assert shop.clock() is clock
        assert LOG == ["close consumer", "open consumer", "close consumer", "open consumer"]


def test_dependent_resources_are_closed_and_opened_again() -> None:
    """A started consumer is restarted with the fake, and with the real one afterwards; the real pool stays open."""
    with Shop() as shop:
        with shop.overriding({"sql.main": "fake"}):
            assert shop.consumer.value == [{"repo": {"pool": "fake"}}]
        assert shop.consumer.value == [{"repo": {"pool": "pool one"}}]
        assert LOG.count("open one") == 1 and LOG.count("close one") == 0


def test_what_was_not_open_is_not_opened() -> None:
    """Without a start nothing is opened by an override, and what was opened inside is closed at its end."""
    shop = Shop()
    with shop.overriding({"sql.main": "fake"}):
        assert LOG == []
        shop.consumer()
    assert LOG == ["open consumer", "close consumer"]


def test_what_an_inner_override_closed_behind_an_outer_one_is_opened_again() -> None:
    """The real consumer is hidden by the outer override when the inner one closes what it stands on."""
    for order in ((0, 1), (1, 0)):
        with Shop() as shop:
            real = shop.consumer.value
            blocks = [shop.overriding({"consumer": "fake"}), shop.overriding({"sql.main": "fake"})]
            for block in blocks:
                block.__enter__()
            for index in order:
                blocks[index].__exit__(None, None, None)
            assert shop.consumer.initialized and shop.consumer.value is not real
            assert shop.consumer() == [{"repo": {"pool": "pool one"}}]


def test_a_container_started_inside_stays_started() -> None:
    """What a start opened with the fake is opened again with the real thing."""
    shop = Shop()
    with shop.overriding({"sql.main": "fake"}):
        shop.start()
        assert "open one" not in LOG
    assert shop.started and shop.consumer.value == [{"repo": {"pool": "pool one"}}]
    shop.stop()
    assert sorted(LOG) == sorted(
        ["open two", "close two", "open one", "close one", *["open consumer", "close consumer"] * 2]
    )


def test_a_container_stopped_inside_stays_stopped() -> None:
    """The end of an override opens nothing in a container that was stopped meanwhile."""
    shop = Shop().start()
    with shop.overriding({"sql.main": "fake"}):
        shop.stop()
        LOG.clear()
    assert LOG == [] and not shop.started


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1)])
def test_contexts_may_end_in_any_order(order: tuple[int, ...]) -> None:
    """Each takes out its own override: what is left is what the others put there, in their order."""
    shop = Shop()
    values = ["a", "b", "c"]
    blocks = [shop.overriding({"sql.main": value}) for value in values]
    for block in blocks:
        block.__enter__()
    left = [0, 1, 2]
    for index in order:
        blocks[index].__exit__(None, None, None)
        left.remove(index)
        assert pool_of(shop) == (values[left[-1]] if left else "pool one")
        assert [one() for one in shop.sql["main"].overridden] == [values[one] for one in left]
    assert untouched(shop)
    shop.stop()


def test_one_provider_may_stand_in_twice() -> None:
    """The same stand-in in two overlapping overrides is taken out once by each."""
    shop = Shop()
    same = providers.Object("same")
    outer, middle = shop.overriding({"repo": same}), shop.overriding({"repo": "middle"})
    inner = shop.overriding({"repo": same})
    for block in (outer, middle, inner):
        block.__enter__()
    outer.__exit__(None, None, None)
    assert shop.repo() == "same"
    inner.__exit__(None, None, None)
    assert shop.repo() == "middle"
    middle.__exit__(None, None, None)
    assert untouched(shop)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clock": 1, "repoo": 2}, "no 'repoo' in Shop; did you mean 'repo'"),
        ({"clock": 1, "sql.mian": 2}, "no 'mian' in sql; did you mean 'main'.*set WELLWIRED__SQL__MIAN__URL"),
        ({"clock": 1, "sql.": 2}, "no '' in sql; known: audit, main"),
        ({"clock": 1, "": 2}, "no '' in Shop"),
        ({"clock": 1, "clock.main": 2}, "no 'clock.main' in Shop"),
        ({"clock": 1, "__self__": 2}, "no '__self__' in Shop"),
        ({"clock": 1, 7: 2}, "a int is no provider of Shop"),
        ({"clock": 1, di.Object(3): 2}, "an unnamed Object of int is no provider of Shop"),
    ],
)
def test_a_wrong_name_changes_nothing(wrong: dict[Any, Any], says: str) -> None:
    """Unknown names are refused before the first override, with near names and what to set."""
    with Shop() as shop:
        clock, service = shop.clock(), shop.service()
        LOG.clear()
        with pytest.raises(UnknownProviderError, match=says), shop.overriding(wrong):
            pass
        assert untouched(shop) and shop.clock() is clock and shop.service() is service and LOG == []


def test_nothing_happens_before_the_block_is_entered() -> None:
    """Calling overriding() alone checks and changes nothing."""
    shop = Shop()
    shop.overriding({"nonsense": 1})
    shop.overriding({"clock": 1})
    assert untouched(shop)


def test_providers_are_keys_too() -> None:
    """Of the instance, of its class, or of a class that it inherits from; members of families as well."""

    class Sub(Shop):
        settings = providers.Singleton(Settings, main="sub")

    sub = Sub()
    for key in (sub.repo, Sub.repo, Shop.repo):
        with sub.overriding({key: "fake"}):
            assert sub.service() == {"repo": "fake"}
    for member in (sub.sql["main"], Sub.sql["main"], Shop.sql["main"]):
        with sub.overriding({member: "fake"}):
            assert pool_of(sub) == "fake"
    assert untouched(sub)
    sub.stop()


def test_one_provider_under_two_keys_is_refused() -> None:
    """Two stand-ins for one provider in one override have no order."""
    shop = Shop()
    with (
        pytest.raises(OverrideError, match="repo and repo are the same provider"),
        shop.overriding({"repo": 1, Shop.repo: 2}),
    ):
        pass


@pytest.mark.parametrize("value", [None, 0, dict, len, lambda: 1, [], object()])
def test_any_object_stands_in_as_it_is(value: Any) -> None:
    """Classes and functions are not called, falsy objects are objects."""
    shop = Shop()
    with shop.overriding({"repo": value}):
        assert shop.repo() is value and shop.service()["repo"] is value


def test_a_provider_stands_in_by_what_it_provides() -> None:
    """A provider is called; if it opens something, that lives as long as the override."""
    shop = Shop()
    stand_in = providers.Resource(pool, "stand-in")
    with shop.overriding({"sql.main": stand_in}):
        assert pool_of(shop) == "pool stand-in"
        assert LOG == ["open stand-in"]
    assert LOG == ["open stand-in", "close stand-in"]
    assert pool_of(shop) == "pool one"
    stand_in()
    shop.stop()
    assert LOG[2:] == ["open one", "open stand-in", "close one"]
    stand_in.close()


def test_a_resource_of_another_container_may_stand_in() -> None:
    """It stays with its own container, which alone closes it."""
    with Shop() as other:
        shop = Shop()
        with shop.overriding({"sql.main": other.sql["main"]}):
            assert pool_of(shop) is other.sql["main"]()
            shop.start()
            shop.stop()
        shop.stop()
        assert "close one" not in LOG
    assert LOG.count("close one") == 1


def test_settings_expand_the_families_anew() -> None:
    """Other settings, other pools: members lead to them inside, and to the real ones afterwards."""
    shop = Shop()
    with shop.overriding({"settings": Settings(main="x", extra="y")}):
        assert pool_of(shop) == "pool x"
        assert list(shop.sql) == ["main", "extra"]
        with pytest.raises(UnknownProviderError, match="no 'audit' in sql"):
            shop.sql["audit"]()
    assert list(shop.sql) == ["main", "audit"] and pool_of(shop) == "pool one"
    shop.stop()
    assert sorted(LOG) == ["close one", "close x", "open one", "open x"]


def test_settings_of_a_started_container_may_be_overridden() -> None:
    """Open pools are closed and opened again from the other settings, users first and last."""
    with Shop() as shop:
        LOG.clear()
        with shop.overriding({"settings": Settings(main="x")}):
            assert LOG == ["close consumer", "close two", "close one", "open x", "open consumer"]
            assert pool_of(shop) == "pool x"
            LOG.clear()
        assert LOG == ["close consumer", "close x", "open one", "open two", "open consumer"]
        assert pool_of(shop) == "pool one"


def test_settings_and_a_member_may_be_overridden_in_one_breath() -> None:
    """Members are looked for in the settings that the same override brings."""
    shop = Shop()
    with shop.overriding({"sql.extra": "fake", "settings": Settings(extra="y")}):
        assert shop.sql() == {"extra": "fake"}
    assert untouched(shop)
    with (
        pytest.raises(UnknownProviderError, match="no 'audit' in sql; known: extra"),
        shop.overriding({"sql.audit": "fake", "settings": Settings(extra="y"), "clock": 1}),
    ):
        pass
    assert untouched(shop) and list(shop.sql) == ["main", "audit"]
    assert pool_of(shop) == "pool one"
    shop.stop()


def test_a_wrong_member_of_other_settings_leaves_a_started_container_alone() -> None:
    """Refused at the last moment, when the other settings are known, and still nothing has changed."""
    with Shop() as shop:
        target, service = shop.sql["main"].target, shop.service()
        LOG.clear()
        with (
            pytest.raises(UnknownProviderError, match="no 'audit' in sql; known: extra"),
            shop.overriding({"sql.audit": "fake", "settings": Settings(extra="y")}),
        ):
            pass
        assert shop.sql["main"].target is target and shop.service() is service
        assert untouched(shop) and LOG == []


def test_an_override_of_a_member_survives_other_settings() -> None:
    """Members outlive an expansion, and so does what overrides them."""
    shop = Shop()
    with shop.overriding({"sql.main": "fake"}):
        with shop.overriding({"settings": Settings(main="x")}):
            assert pool_of(shop) == "fake"
        assert pool_of(shop) == "fake"
    assert pool_of(shop) == "pool one"
    shop.stop()


def test_a_whole_family_may_be_overridden() -> None:
    """A mapping of objects answers for the family and for each member, and users are rebuilt."""
    with Shop() as shop:
        service = shop.service()
        LOG.clear()
        with shop.overriding({"sql": {"main": "fake"}}):
            assert pool_of(shop) == "fake" and shop.sql() == {"main": "fake"}
            assert shop.service() is not service
        assert pool_of(shop) == "pool one"
        assert [line for line in LOG if "consumer" not in line] == []


def test_scoped_objects_are_rebuilt_in_their_scope() -> None:
    """A scope that is active across an override builds its dependents anew both times."""
    shop = Shop()
    with scope():
        before = shop.session()
        with shop.overriding({"sql.main": "fake"}):
            assert shop.session() == {"repo": {"pool": "fake"}}
        after = shop.session()
        assert after == {"repo": {"pool": "pool one"}} and after is not before
        with shop.overriding({"session": "fake"}):
            assert shop.session() == "fake"
        assert shop.session() is after
    shop.stop()


def test_an_asynchronous_latch_does_not_outlive_the_override() -> None:
    """A provider that served a coroutine inside serves plain objects afterwards, and its dependents too."""
    import asyncio

    async def connect() -> str:
        return "asynchronous"

    class Mixed(Container):
        pool = providers.Factory(str, "plain")
        user = providers.Factory(dict[str, Any], pool=pool)

    async def main() -> None:
        mixed = Mixed()
        assert mixed.user() == {"pool": "plain"}
        with mixed.overriding({"pool": providers.Coroutine(connect)}):
            served: Any = mixed.user()
            assert await served == {"pool": "asynchronous"}
        assert mixed.pool() == "plain" and mixed.user() == {"pool": "plain"}

    asyncio.run(main())


def test_a_dependent_that_does_not_open_takes_the_override_back() -> None:
    """On entry: everything is as before, and the error says so and carries its cause."""
    with Shop() as shop:
        with (
            pytest.raises(OverrideError, match="taken back") as caught,
            shop.overriding({"service": providers.Callable(lambda: (_ for _ in ()).throw(OSError("no fake")))}),
        ):
            pass
        assert isinstance(caught.value.__cause__, OSError)
        assert untouched(shop) and pool_of(shop) == "pool one"
        assert shop.consumer.initialized


class Stubborn(Container):
    """A resource that fails to close when it is told to."""

    failing = providers.Object(threading.Event())
    pool = providers.Object("real")

    @staticmethod
    def opening(pool: str, failing: threading.Event) -> Iterator[str]:
        """Opens."""
        yield pool
        if failing.is_set():
            raise OSError("does not close")

    user = providers.Resource(opening, pool, failing)


def test_a_dependent_that_does_not_close_is_reported_and_all_is_restored() -> None:
    """On exit: the override is gone all the same, and the failures come together or as notes of the block's error."""
    stubborn = Stubborn().start()
    event = stubborn.failing()
    event.clear()
    with pytest.raises(ExceptionGroup, match="taken back") as caught, stubborn.overriding({"pool": "fake"}):
        event.set()
    assert [str(one) for one in caught.value.exceptions] == ["does not close"]
    assert stubborn.user() == "real" and not stubborn.pool.overridden
    event.clear()
    with pytest.raises(ValueError, match="block") as noted, stubborn.overriding({"pool": "fake"}):  # noqa: PT012
        event.set()
        raise ValueError("block")
    assert noted.value.__notes__ == ["taking an override back failed too: OSError"]
    assert stubborn.user() == "real"
    event.clear()
    stubborn.stop()


def test_a_dependent_that_does_not_close_on_entry_takes_the_override_back() -> None:
    """On entry: everything is as before, and what failed to close is open again."""
    stubborn = Stubborn().start()
    event = stubborn.failing()
    event.set()
    with pytest.raises(OverrideError, match="taken back") as caught, stubborn.overriding({"pool": "fake"}):
        pass
    event.clear()
    # Once when the override closed it, and once more when that was taken back.
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert [str(one) for one in caught.value.__cause__.exceptions] == ["does not close"] * 2
    assert stubborn.user() == "real" and not stubborn.pool.overridden
    stubborn.stop()


def test_an_interrupt_on_entry_takes_the_override_back() -> None:
    """Ctrl-C while a dependent is opened with the fake leaves no fake behind."""

    def opening(pool: str) -> str:
        if pool == "fake":
            raise KeyboardInterrupt
        return pool

    class Slow(Container):
        pool = providers.Object("real")
        service = providers.Singleton(dict[str, Any], pool=pool)
        user = providers.Resource(opening, pool)

    with Slow() as slow:
        slow.service()
        with pytest.raises(KeyboardInterrupt), slow.overriding({"pool": "fake"}):
            pass
        assert not slow.pool.overridden and slow.service() == {"pool": "real"} and slow.user() == "real"


@pytest.mark.parametrize("kind", ["resource", "singleton", "chain"])
def test_what_another_thread_is_building_with_the_fake_does_not_stay(kind: str) -> None:
    """A dependent that is in the middle of its construction when the override ends is built again."""
    entered, release = threading.Event(), threading.Event()

    def slow(pool: Any) -> Any:
        if "fake" in str(pool):
            entered.set()
            assert release.wait(10)
        return [pool]

    class Racing(Container):
        pool = providers.Object("real")
        middle = providers.Singleton(dict[str, Any], pool=pool) if kind == "chain" else pool
        user = providers.Singleton(slow, middle) if kind == "singleton" else providers.Resource(slow, middle)

    racing = Racing()
    block = racing.overriding({"pool": "fake"})
    block.__enter__()
    building = threading.Thread(target=racing.user, daemon=True)
    building.start()
    assert entered.wait(10)
    ending = threading.Thread(target=block.__exit__, args=(None, None, None), daemon=True)
    ending.start()
    while racing.pool.overridden:
        pass
    release.set()
    building.join(10)
    ending.join(10)
    assert "fake" not in str(racing.user())
    racing.stop()


def test_a_block_cannot_be_entered_twice_at_once() -> None:
    """Its own end would be ambiguous; one after the other is fine."""
    shop = Shop()
    block = shop.overriding({"clock": 1})
    with block, pytest.raises(StateError, match="entered already"), block:
        pass
    with block:
        assert shop.clock() == 1
    assert untouched(shop)


def test_other_threads_see_the_override() -> None:
    """It holds for the process, as its documentation says."""
    shop = Shop()
    with shop.overriding({"clock": "fake"}):
        assert race(shop.clock, threads=3) == ["fake"] * 3


def test_threads_that_override_and_threads_that_use_end_clean() -> None:
    """However overrides from several threads interleave with uses, nothing is left of them at the end."""
    shop = Shop()
    done = threading.Event()

    def overriding() -> None:
        name = threading.current_thread().name
        for index in range(25):
            with shop.overriding({"sql.main": f"fake {name} {index}"}):
                assert pool_of(shop).startswith("fake")
        done.set()

    def using() -> None:
        while not done.is_set():
            shop.service()
            shop.consumer()

    outcomes = race_all([overriding, overriding, using, using], timeout=50)
    assert outcomes == [None] * 4
    assert untouched(shop) and pool_of(shop) == "pool one"
    assert shop.consumer() == [{"repo": {"pool": "pool one"}}]
    shop.stop()
    assert LOG.count("open one") == LOG.count("close one")
    assert LOG.count("open consumer") == LOG.count("close consumer")


def test_an_override_given_by_hand_on_top_is_left_alone() -> None:
    """dependency-injector's own override, put on inside, survives the end of ours and can be reset by its owner."""
    shop = Shop()
    with shop.overriding({"repo": "ours"}):
        theirs = shop.repo.override("theirs")
    assert shop.repo() == "theirs"
    theirs.__exit__(None, None, None)
    assert untouched(shop)


def test_an_override_that_somebody_reset_ends_in_peace() -> None:
    """If all overrides of a provider are reset by hand, the end of the block has nothing to take out."""
    shop = Shop()
    with shop.overriding({"repo": "ours"}):
        shop.repo.reset_override()
    assert untouched(shop)


def test_overrides_in_an_exit_stack() -> None:
    """Test fixtures that pile up overrides restore exactly."""
    shop = Shop()
    with ExitStack() as stack:
        for index in range(5):
            stack.enter_context(shop.overriding({"clock": index, "repo": index}))
        assert shop.clock() == 4
    assert untouched(shop)


def test_a_provider_of_a_nested_container_is_overridden_by_its_id() -> None:
    """Dependents in the outer container are rebuilt too."""

    class Core(Container):
        clock = providers.Singleton(object)

    class App(Container):
        core = providers.Container(Core)
        user = providers.Singleton(dict[str, Any], clock=core.clock)

    app = App()
    app.user()
    for key in ("core.clock", app.core.clock):
        with app.overriding({key: "fake"}):
            assert app.user() == {"clock": "fake"}
        assert app.user() != {"clock": "fake"}


def test_a_dependency_may_be_overridden_without_losing_its_link() -> None:
    """What supplies a declared dependency is below the override, and there again afterwards."""

    class Core(Container):
        url = providers.Dependency(instance_of=str)
        user = providers.Singleton(dict[str, Any], url=url)

    class App(Container):
        url = providers.Object("real")
        core = providers.Container(Core, url=url)

    app = App()
    for _ in range(2):
        assert app.core.user() == {"url": "real"}
        with app.overriding({"core.url": "fake"}):
            assert app.core.user() == {"url": "fake"}
        with app.overriding({"url": "other"}):
            assert app.core.user() == {"url": "other"}
        assert app.core.user() == {"url": "real"}
