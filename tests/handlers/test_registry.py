"""Tests of the registry of handlers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from wellwired.errors import RegistrationError
from wellwired.handlers import FunctionHandler, Registry, handler
from wellwired.operations import WriteRequest


def made(type: str, backend: str = "", **options: Any) -> FunctionHandler[Any, None]:
    """A handler that does nothing."""

    @handler(type, backend=backend, **options)
    def nothing(request: WriteRequest, connection: Any) -> None: ...

    return nothing


def test_a_handler_is_found_by_type_and_backend() -> None:
    """And by nothing else."""
    wanted = made("update", "sql")
    registry = Registry(wanted, made("update", "redis"))
    assert registry.find("update", "sql") is wanted
    assert registry.find("update", "memory") is None
    assert registry.find("insert", "sql") is None
    assert registry.find("update") is None


def test_a_handler_for_any_backend_stands_in() -> None:
    """Where a backend has none of its own for the type."""
    general, own = made("update"), made("update", "sql")
    registry = Registry(general, own)
    assert registry.find("update", "sql") is own
    assert registry.find("update", "redis") is general
    assert registry.find("update") is general


def test_a_second_handler_for_a_place_is_refused() -> None:
    """The error names the type, the backend and both handlers; the first one stays."""
    first, second = made("update", "sql"), made("update", "sql")
    registry = Registry(first)
    with pytest.raises(RegistrationError) as caught:
        registry.register(second)
    assert "'update'" in str(caught.value)
    assert "'sql'" in str(caught.value)
    assert "made.<locals>.nothing" in str(caught.value)
    assert registry.find("update", "sql") is first
    with pytest.raises(RegistrationError, match="any backend"):
        Registry(made("update"), made("update"))


def test_a_place_can_be_taken_on_purpose() -> None:
    """With `replace`, as a test does that puts a double in."""
    double = made("update", "sql")
    registry = Registry(made("update", "sql"))
    registry.register(double, replace=True)
    assert registry.find("update", "sql") is double
    assert len(registry) == 1


def test_registering_the_same_object_again_changes_nothing() -> None:
    """A module that is imported under two names does no harm."""
    once = made("update")
    registry = Registry(once, once)
    registry.register(once)
    assert list(registry) == [once]


def test_types_are_those_that_find_finds() -> None:
    """Sorted, for a backend or for all."""
    registry = Registry(made("b", "sql"), made("a"), made("c", "redis"), made("b", "redis"))
    assert registry.types() == ("a", "b", "c")
    assert registry.types("sql") == ("a", "b")
    assert registry.types("redis") == ("a", "b", "c")
    assert registry.types("memory") == ("a",)
    assert repr(registry) == "Registry(a, b, c)"


def test_iterating_sees_the_handlers_as_they_were() -> None:
    """A handler that is added meanwhile does not disturb it."""
    first, second = made("a"), made("b")
    registry = Registry(first, second)
    seen = []
    for found in registry:
        seen.append(found)
        registry.register(made(f"more {len(seen)}"))
    assert seen == [first, second]
    assert len(registry) == 4


def test_what_is_no_handler_is_refused() -> None:
    """When it is registered, and not at the first write."""
    nothing: Any = object()
    with pytest.raises(RegistrationError):
        Registry(nothing)


def test_a_class_that_cannot_be_a_payload_model_is_refused() -> None:
    """When the handler is registered: its first write may come much later."""
    with pytest.raises(RegistrationError, match="payload model"):
        Registry(made("update", payload=int))


def test_racing_registrations_leave_one_handler() -> None:
    """Of many threads that want one place exactly one gets it, and the others are told."""
    registry, start = Registry(), threading.Barrier(8)
    refused: list[RegistrationError] = []

    def register() -> None:
        start.wait()
        for number in range(50):
            try:
                registry.register(made(f"type {number}", "sql"))
            except RegistrationError as error:
                refused.append(error)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry) == 50
    assert len(refused) == 7 * 50
