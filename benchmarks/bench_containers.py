"""Containers beside dependency-injector alone, wireup and dishka."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import dishka
import pytest
import wireup
from dependency_injector import containers as di_containers
from dependency_injector import providers as di
from dependency_injector import wiring as di_wiring

from wellwired import Container, Provide, inject, providers

Benchmark = Callable[..., Any]


class Service:
    """Something to provide."""


def make() -> Service:
    """Makes one."""
    return Service()


class Ours(Container):
    """Our container."""

    single = providers.Singleton(Service)
    held = providers.Resource(make)


class Plain(di_containers.DeclarativeContainer):
    """dependency-injector's own."""

    single = di.Singleton(Service)
    safe = di.ThreadSafeSingleton(Service)
    held = di.Resource(make)


@pytest.mark.benchmark(group="resolving a singleton")
def test_singleton_ours(benchmark: Benchmark) -> None:
    """Our singleton."""
    assert isinstance(benchmark(Ours().single), Service)


@pytest.mark.benchmark(group="resolving a singleton")
def test_singleton_di(benchmark: Benchmark) -> None:
    """dependency-injector's, which is not safe from threads."""
    assert isinstance(benchmark(Plain().single), Service)


@pytest.mark.benchmark(group="resolving a singleton")
def test_singleton_di_safe(benchmark: Benchmark) -> None:
    """dependency-injector's, safe from threads by one lock for all."""
    assert isinstance(benchmark(Plain().safe), Service)


@pytest.mark.benchmark(group="resolving a singleton")
def test_singleton_wireup(benchmark: Benchmark) -> None:
    """wireup's."""
    container = wireup.create_sync_container(injectables=[wireup.injectable(Service)])
    assert isinstance(benchmark(container.get, Service), Service)


@pytest.mark.benchmark(group="resolving a singleton")
def test_singleton_dishka(benchmark: Benchmark) -> None:
    """dishka's."""
    provider = dishka.Provider(scope=dishka.Scope.APP)
    provider.provide(Service)
    assert isinstance(benchmark(dishka.make_container(provider).get, Service), Service)


@pytest.mark.benchmark(group="resolving a resource")
def test_resource_ours(benchmark: Benchmark) -> None:
    """Our resource, open."""
    with Ours() as container:
        assert isinstance(benchmark(container.held), Service)


@pytest.mark.benchmark(group="resolving a resource")
def test_resource_di(benchmark: Benchmark) -> None:
    """dependency-injector's, open."""
    container = Plain()
    container.init_resources()
    assert isinstance(benchmark(container.held), Service)


def _module(name: str, inject: Any, marker: Any) -> ModuleType:
    module = ModuleType(name)

    def view(service: Any = marker) -> Any:
        return service

    view.__module__ = name
    module.view = inject(view)  # type: ignore[attr-defined]
    return module


@pytest.mark.benchmark(group="an injected call")
def test_injected_ours(benchmark: Benchmark) -> None:
    """A function wired by us."""
    module, container = _module("bench_view_ours", inject, Provide["single"]), Ours()
    container.wire([module])
    assert isinstance(benchmark(module.view), Service)
    container.unwire()


@pytest.mark.benchmark(group="an injected call")
def test_injected_di(benchmark: Benchmark) -> None:
    """A function wired by dependency-injector."""
    module, container = _module("bench_view_di", di_wiring.inject, di_wiring.Provide["single"]), Plain()
    container.wire(modules=[module])
    assert isinstance(benchmark(module.view), Service)
    container.unwire()


@pytest.mark.benchmark(group="start and stop of 100 resources")
def test_start_ours(benchmark: Benchmark) -> None:
    """Ours: checked, opened in order, closed in reverse."""
    container = type("Hundred", (Container,), {f"r{n}": providers.Resource(make) for n in range(100)})()

    def turn() -> None:
        container.start()
        container.stop()

    benchmark(turn)


@pytest.mark.benchmark(group="start and stop of 100 resources")
def test_start_di(benchmark: Benchmark) -> None:
    """dependency-injector's: opened and closed in no particular order."""
    container = type(
        "Hundred", (di_containers.DeclarativeContainer,), {f"r{n}": di.Resource(make) for n in range(100)}
    )()

    def turn() -> None:
        container.init_resources()
        container.shutdown_resources()

    benchmark(turn)
