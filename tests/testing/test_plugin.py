"""The pytest plugin as this very run has it: a container for each test, overridden as its marks say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.testing.shop import Shop, orders, settings
from wellwired import providers
from wellwired.clock import SYSTEM
from wellwired.containers.container import ContainerInstance
from wellwired.testing import Faults, RecordedWrites, VirtualClock

BORROWED: Any = Shop()
seen: list[Any] = []

STORES = {"prices": {"layers": "memory:60!"}}

pytestmark = pytest.mark.wellwired_override({"logging": "module", "settings": settings(stores=STORES)})


@pytest.fixture(scope="module")
def wellwired_container_source() -> Any:
    """The shop's class."""
    return Shop


def test_a_container_is_there_and_started(wellwired_container: Any) -> None:
    """One of the class that the source gives."""
    assert isinstance(wellwired_container, ContainerInstance) and wellwired_container.started
    seen.append(wellwired_container)


def test_each_test_has_its_own(wellwired_container: Any) -> None:
    """The one of the test before was stopped."""
    before = seen.pop()
    assert wellwired_container is not before and not before.started


def test_a_mark_on_the_module_counts(wellwired_container: Any) -> None:
    """For every test in it."""
    assert wellwired_container.logging() == "module"


@pytest.mark.wellwired_override({"logging": "function"})
def test_the_nearest_mark_wins(wellwired_container: Any) -> None:
    """A function's over its module's, and the others go on to count."""
    assert wellwired_container.logging() == "function" and list(wellwired_container.settings().stores) == ["prices"]


@pytest.mark.wellwired_override({"logging": "class"})
class TestOfAClass:
    """Marks of a class."""

    def test_a_mark_on_the_class_counts(self, wellwired_container: Any) -> None:
        """For its tests."""
        assert wellwired_container.logging() == "class"

    @pytest.mark.wellwired_override({Shop.logging: "provider"})
    def test_a_mark_may_name_a_provider(self, wellwired_container: Any) -> None:
        """As well as its id; it is the same one."""
        assert wellwired_container.logging() == "provider"

    @pytest.mark.wellwired_override({"logging": 1})
    @pytest.mark.wellwired_override({"logging": 2, "own_layers": {}})
    def test_two_marks_in_one_place(self, wellwired_container: Any) -> None:
        """The one that stands nearer to the function, below, is the nearer."""
        assert (wellwired_container.logging(), wellwired_container.own_layers()) == (2, {})


@pytest.mark.wellwired_override({"metrics": list})
def test_a_value_is_taken_as_it_is(wellwired_container: Any) -> None:
    """A class is not called; who wants a factory gives a provider."""
    assert wellwired_container.metrics() is list


def test_one_container_for_all_fixtures(
    wellwired_clock: VirtualClock, wellwired_in_memory: Any, wellwired_container: Any, wellwired_writes: RecordedWrites
) -> None:
    """Whichever of them a test asks for, and in whichever order."""
    assert wellwired_container is wellwired_in_memory
    assert wellwired_container.clock() is wellwired_clock
    assert wellwired_container.settings().sql["main"].url.get_secret_value() == "sqlite://"
    assert wellwired_container.write_middleware() == [wellwired_writes]
    assert wellwired_container.logging() == "module"  # a mark is nearer than a twin


opened: list[str] = []


class Watched(Shop):
    """Notes which database it is started with."""

    pool = providers.Resource(lambda engine: opened.append(engine.dialect.name), Shop.sql["main"])


class TestOfTheStart:
    """What is asked for by name is done before the container is started."""

    @pytest.fixture
    def wellwired_container_source(self) -> Any:
        """A shop that is watched."""
        return Watched

    def test_nothing_real_is_ever_opened(self, wellwired_container: Any, wellwired_in_memory: Any) -> None:
        """Even if the container comes first."""
        assert wellwired_container.pool() is None and opened == ["sqlite"]


def test_a_fixture_may_be_asked_for_late(request: pytest.FixtureRequest, wellwired_container: Any) -> None:
    """Then a started container is overridden."""
    assert wellwired_container.clock() is SYSTEM
    clock = request.getfixturevalue("wellwired_clock")
    assert wellwired_container.clock() is clock
    request.getfixturevalue("wellwired_in_memory")
    orders.create(wellwired_container.sql["main"]())
    writes = request.getfixturevalue("wellwired_writes")
    assert wellwired_container.write_middleware() == [writes] and writes == wellwired_container.write_middleware()[0]
    assert isinstance(request.getfixturevalue("wellwired_faults"), Faults)


def test_the_clock_is_that_of_the_stores(wellwired_clock: VirtualClock, wellwired_container: Any) -> None:
    """A value ends when the test says so."""
    store = wellwired_container.stores["prices"]()
    store.set("tea", 350, ttl=10)
    wellwired_clock.advance(9)
    assert store.get("tea") == 350
    wellwired_clock.advance(2)
    assert store.get("tea", None) is None


class TestOfAnInstance:
    """A container that belongs to somebody else."""

    @pytest.fixture
    def wellwired_container_source(self) -> Any:
        """It is the same for all."""
        return BORROWED

    def test_it_is_started_and_overridden_in_place(self, wellwired_container: Any) -> None:
        """With what the marks say."""
        assert wellwired_container is BORROWED and BORROWED.started
        assert BORROWED.logging() == "module" and BORROWED.desk()

    @pytest.fixture
    def before(self) -> Any:
        """What there is before the container of the test: no override of the test before, and nothing it has built."""
        assert not BORROWED.started and not any(one.overridden for one in BORROWED.ids().values())
        assert not BORROWED.desk.created
        return BORROWED.handlers()

    def test_it_is_stopped_and_as_it_was(self, before: Any, wellwired_container: Any) -> None:
        """The next test builds for itself; what its owner had built before stays in use."""
        assert BORROWED.handlers() is before and BORROWED.desk()
        seen[:] = [before]

    def test_its_owner_s_objects_stay(self, before: Any, wellwired_container: Any) -> None:
        """Also after the test."""
        assert seen.pop() is before
        BORROWED.handlers.reset()

    @pytest.fixture
    def running(self) -> Any:
        """A container that somebody else has started, with what was open then."""
        own = settings(stores=STORES, sql={"main": {"url": "sqlite://"}}, redis={})
        with BORROWED.overriding({"settings": own}), BORROWED:
            yield BORROWED.sql["main"]()
            assert BORROWED.started and BORROWED.settings() is own

    @pytest.mark.wellwired_override({"logging": "mark"})
    def test_a_started_one_stays_started(self, running: Any, request: pytest.FixtureRequest) -> None:
        """With its own overrides, below those of the test."""
        assert request.getfixturevalue("wellwired_container") is BORROWED
        assert BORROWED.logging() == "mark" and BORROWED.sql["main"]() is running


def test_the_place_of_a_container_will_do(pytestconfig: pytest.Config) -> None:
    """As the option and the setting give it."""
    from wellwired.testing._stage import staged

    own = {"settings": settings(stores=STORES)}
    left: list[str] = []
    with staged("tests.testing.shop:Shop", [own], (), left) as stage:
        assert stage.container.title == "Shop" and stage.container.started
    assert not stage.container.started and left == []


def test_a_borrowed_container_is_wired_as_it_was() -> None:
    """What calls its functions between two tests, such as a client of the application, finds them filled in."""
    from tests.testing import wired
    from wellwired.testing._stage import staged

    own: Any = Shop(settings=settings(stores=STORES))
    with own.wire([wired]):
        with staged(own, [], (), []):
            assert wired.known() == ("mail_send", "order_add", "value_set")
        assert not own.started
        assert wired.known() == ("mail_send", "order_add", "value_set")
