"""Tests of what the comparison says of other libraries, each with the version that is installed.

They hold a page to the truth and judge nobody: where another library changes, its test fails, and the page is to be
mended. What is not installed is left out, except where the documentation is built, which installs all of them.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wellwired.stores import DelegatedStore, Layer, MemoryStore

ROOT = Path(__file__).parents[1]


def test_the_page_names_the_versions_that_were_tried() -> None:
    """Those that are pinned."""
    page = (ROOT / "docs" / "explanations" / "compared.md").read_text().partition("\n## ")[0]
    pinned = dict(re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned["Django"] = re.findall(r"^Django==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]
    for name in ("dependency-injector", "dishka", "wireup", "svcs", "Django", "dogpile.cache", "cashews"):
        assert re.search(rf"{re.escape(name)}\s{re.escape(pinned[name])}\b", page), name


class Truth:
    """A source whose value is replaced, and the copy deleted, while somebody loads the older one."""

    def __init__(self, delete: Callable[[], object]) -> None:
        self.value, self.delete, self.loads = "old", delete, 0

    def load(self, *_: object) -> str:
        """Reads the value; then somebody else writes a new one and has the copy deleted."""
        value, self.value = self.value, "new"
        self.loads += 1
        self.delete()
        return value


class Service:
    """Something with a dependency."""

    def __init__(self, part: object) -> None:
        self.part = part


class TestWellwired:
    """The same schedules as below."""

    def test_wellwired_forgets_a_load_that_was_overtaken(self) -> None:
        """The next reader gets the new value."""
        store: DelegatedStore[str] = DelegatedStore([Layer(MemoryStore(), ttl=60)])
        truth = Truth(lambda: store.delete("key"))
        store.get_or_load("key", truth.load)
        truth.delete = lambda: None
        assert store.get_or_load("key", truth.load) == "new"


class TestDependencyInjector:
    """What `Application` adds to it, or changes."""

    def test_dependency_injector_makes_a_singleton_for_each_of_racing_threads(self) -> None:
        """Its documentation says so, and has another provider for it."""
        from dependency_injector import providers

        both = threading.Barrier(2, timeout=10)
        made: list[object] = []
        provider = providers.Singleton(lambda: (both.wait(), object())[1])
        threads = [threading.Thread(target=lambda: made.append(provider())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert made[0] is not made[1]

    def test_dependency_injector_hands_over_a_marker_that_leads_nowhere(self) -> None:
        """The function gets the marker itself."""
        from dependency_injector import containers, wiring

        def view(part: object = wiring.Provide["nope"]) -> object:
            return part

        module: Any = ModuleType("somewhere")
        view.__module__ = module.__name__
        module.view = wiring.inject(view)
        container = containers.DynamicContainer()
        container.wire(modules=[module])
        assert type(module.view()).__name__ == "Provide"
        container.unwire()

    def test_dependency_injector_leaves_open_what_a_failed_start_opened(self) -> None:
        """`init_resources` raises, and the first resource stays open."""
        from dependency_injector import containers, providers

        events: list[str] = []

        def first() -> Iterator[str]:
            events.append("open")
            yield "first"
            events.append("close")

        def second(_: str) -> Iterator[None]:
            raise ConnectionError
            yield

        container: Any = containers.DynamicContainer()
        container.first = providers.Resource(first)
        container.second = providers.Resource(second, container.first)
        with pytest.raises(ConnectionError):
            container.init_resources()
        assert events == ["open"]
        container.first.shutdown()

    def test_dependency_injector_keeps_an_override_in_what_was_built_under_it(self) -> None:
        """A dependent singleton is to be reset by hand."""
        from dependency_injector import providers

        part = providers.Singleton(object)
        service = providers.Singleton(Service, part)
        with part.override(providers.Object("fake")):
            service()
        assert service().part == "fake"


class TestDishka:
    """Injection by type, checked when a container is made."""

    def test_dishka_finds_a_missing_part_when_it_is_made(self) -> None:
        """With the way to it."""
        dishka = pytest.importorskip("dishka")
        provider = dishka.Provider(scope=dishka.Scope.APP)
        provider.provide(Needy)
        with pytest.raises(dishka.exceptions.DishkaError, match="Part"):
            dishka.make_container(provider)

    def test_dishka_closes_in_reverse_and_goes_on_after_a_failure(self) -> None:
        """All that was opened is closed."""
        dishka = pytest.importorskip("dishka")
        closed: list[str] = []

        def part() -> Iterator[Part]:
            yield Part()
            closed.append("part")

        def needy(part: Part) -> Iterator[Needy]:
            yield Needy(part)
            closed.append("needy")
            raise OSError

        provider = dishka.Provider(scope=dishka.Scope.APP)
        provider.provide(part)
        provider.provide(needy)
        container = dishka.make_container(provider)
        container.get(Needy)
        with pytest.raises((dishka.exceptions.DishkaError, ExceptionGroup)):
            container.close()
        assert closed == ["needy", "part"]


class Part:
    """Something that is needed."""


class Needy:
    """Needs it."""

    def __init__(self, part: Part) -> None:
        self.part = part


class TestWireup:
    """Injection by type, checked when a container is made."""

    def test_wireup_finds_a_missing_part_when_it_is_made(self) -> None:
        """Nothing is served before."""
        wireup = pytest.importorskip("wireup")
        with pytest.raises(wireup.errors.WireupError, match="Part"):
            wireup.create_sync_container(injectables=[wireup.injectable(Needy)])

    def test_wireup_keeps_the_real_part_in_what_was_built_before_an_override(self) -> None:
        """Its documentation says so."""
        wireup = pytest.importorskip("wireup")
        container = wireup.create_sync_container(injectables=[wireup.injectable(Needy), wireup.injectable(Part)])
        real = container.get(Needy).part
        with container.override({Part: Part()}):
            assert container.get(Needy).part is real


class TestSvcs:
    """A service locator."""

    def test_svcs_finds_a_missing_part_when_it_is_asked_for(self) -> None:
        """There is no graph to be checked."""
        svcs = pytest.importorskip("svcs")
        registry = svcs.Registry()
        registry.register_factory(Needy, lambda svcs_container: Needy(svcs_container.get(Part)))
        with svcs.Container(registry) as container, pytest.raises(svcs.exceptions.ServiceNotFoundError):
            container.get(Needy)

    def test_svcs_has_pings(self) -> None:
        """For a health check."""
        svcs = pytest.importorskip("svcs")
        registry = svcs.Registry()
        pinged: list[object] = []
        registry.register_factory(Part, Part, ping=pinged.append)
        with svcs.Container(registry) as container:
            for ping in container.get_pings():
                ping.ping()
        assert len(pinged) == 1


class TestDjangoCache:
    """The cache in memory, for which no project is needed."""

    @pytest.fixture
    def cache(self) -> Iterator[Any]:
        """A cache of its own."""
        pytest.importorskip("django")
        from django.core.cache.backends.locmem import LocMemCache

        cache = LocMemCache(f"compared-{id(self)}", {})
        yield cache
        cache.clear()

    def test_django_keeps_a_load_that_was_overtaken(self, cache: Any) -> None:
        """`get_or_set` adds what it computed, though the key was deleted meanwhile."""
        truth = Truth(lambda: cache.delete("key"))
        cache.get_or_set("key", truth.load)
        assert (cache.get("key"), truth.value) == ("old", "new")

    def test_django_loads_twice_for_two_who_miss(self, cache: Any) -> None:
        """`get_or_set` has no lock."""
        both, loads = threading.Barrier(2, timeout=10), []

        def load() -> str:
            loads.append(both.wait())
            return "value"

        threads = [threading.Thread(target=cache.get_or_set, args=("key", load)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(loads) == 2


class TestDogpile:
    """A region in memory."""

    @pytest.fixture
    def region(self) -> Any:
        """A region of its own."""
        cache = pytest.importorskip("dogpile.cache")
        return cache.make_region().configure("dogpile.cache.memory", expiration_time=60)

    def test_dogpile_keeps_a_load_that_was_overtaken(self, region: Any) -> None:
        """The creator's value is set, though the key was deleted meanwhile."""
        truth = Truth(lambda: region.delete("key"))
        region.get_or_create("key", truth.load)
        assert (region.get("key"), truth.value) == ("old", "new")

    def test_dogpile_loads_once_for_two_who_miss(self, region: Any) -> None:
        """The dogpile lock, which some backends hold for all processes."""
        loads: list[str] = []
        begun, go_on = threading.Event(), threading.Event()

        def load() -> str:
            loads.append("load")
            begun.set()
            assert go_on.wait(10)
            return "value"

        threads = [threading.Thread(target=region.get_or_create, args=("key", load)) for _ in range(2)]
        threads[0].start()
        assert begun.wait(10)
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join(10)
        assert loads == ["load"]

    def test_dogpile_shares_a_value_in_memory(self, region: Any) -> None:
        """The backend `memory_pickle` is for those who do not want that."""
        region.set("key", ["a"])
        region.get("key").append("b")
        assert region.get("key") == ["a", "b"]


class TestCashews:
    """A cache in memory."""

    def test_cashews_keeps_a_load_that_was_overtaken(self) -> None:
        """The decorated function's value is set, though the key was deleted meanwhile."""
        cashews = pytest.importorskip("cashews")

        async def schedule() -> tuple[str, str]:
            cache = cashews.Cache()
            cache.setup("mem://")
            value = ["old"]

            @cache(ttl=60, key="key")  # type: ignore[untyped-decorator, unused-ignore]
            async def load() -> str:
                found = value[0]
                value[0] = "new"
                await cache.delete("key")
                return found

            await load()
            again: str = await load()
            await cache.close()
            return again, value[0]

        assert asyncio.run(schedule()) == ("old", "new")

    def test_cashews_shares_a_value_in_memory(self) -> None:
        """What a reader changes, others see."""
        cashews = pytest.importorskip("cashews")

        async def schedule() -> Any:
            cache = cashews.Cache()
            cache.setup("mem://")
            await cache.set("key", ["a"], expire=60)
            (await cache.get("key")).append("b")
            found = await cache.get("key")
            await cache.close()
            return found

        assert asyncio.run(schedule()) == ["a", "b"]
