"""Tests of the onion."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.errors import RegistrationError
from wellwired.middleware import Middleware, Next, chain


def noted(name: Any, notes: list[Any]) -> Middleware[str, str]:
    """A middleware that notes when it is entered and left."""

    def wrap(next: Next[str, str]) -> Next[str, str]:
        def call(operation: str) -> str:
            notes.append((name, "in"))
            result = next(f"{operation}>{name}")
            notes.append((name, "out"))
            return f"{result}<{name}"

        return call

    return wrap


def test_what_was_registered_later_runs_first() -> None:
    """The last one is the outermost, on the way in and on the way out."""
    notes: list[Any] = []
    call = chain(lambda operation: f"[{operation}]", [noted("first", notes), noted("last", notes)])
    assert call("op") == "[op>last>first]<first<last"
    assert notes == [("last", "in"), ("first", "in"), ("first", "out"), ("last", "out")]


@given(st.lists(st.integers(), max_size=8))
def test_the_order_holds_for_any_number(names: list[int]) -> None:
    """Entered in reverse order of registration, left in order."""
    notes: list[Any] = []
    chain(lambda operation: operation, [noted(name, notes) for name in names])("op")
    assert [name for name, way in notes if way == "in"] == names[::-1]
    assert [name for name, way in notes if way == "out"] == names


def test_without_middleware_the_endpoint_is_the_call() -> None:
    """Nothing is put around it that could cost time."""

    def endpoint(operation: str) -> str:
        return operation

    assert chain(endpoint) is endpoint


def test_a_middleware_is_called_once_and_not_for_each_operation() -> None:
    """What it prepares in its outer part is prepared once."""
    built: list[str] = []

    def counting(next: Next[int, int]) -> Next[int, int]:
        built.append("once")
        return next

    call = chain(lambda number: number + 1, [counting])
    assert [call(number) for number in range(3)] == [1, 2, 3]
    assert built == ["once"]


def test_a_middleware_may_answer_by_itself() -> None:
    """And what lies further in is not asked."""

    def deaf(next: Next[str, str]) -> Next[str, str]:
        return lambda operation: "no"

    def endpoint(operation: str) -> str:
        raise AssertionError("was asked")

    assert chain(endpoint, [deaf])("op") == "no"


def test_an_exception_passes_through_every_layer() -> None:
    """From the inside out, for each to see."""
    seen: list[str] = []

    def seeing(name: str) -> Middleware[str, str]:
        def wrap(next: Next[str, str]) -> Next[str, str]:
            def call(operation: str) -> str:
                try:
                    return next(operation)
                except ValueError:
                    seen.append(name)
                    raise

            return call

        return wrap

    def endpoint(operation: str) -> str:
        raise ValueError(operation)

    with pytest.raises(ValueError, match="op"):
        chain(endpoint, [seeing("inner"), seeing("outer")])("op")
    assert seen == ["inner", "outer"]


def test_a_chain_has_no_colour() -> None:
    """The same function builds a chain of coroutines."""

    def doubled(next: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
        async def call(number: int) -> int:
            return 2 * await next(number)

        return call

    async def endpoint(number: int) -> int:
        return number + 1

    async def main() -> int:
        return await chain(endpoint, [doubled])(3)

    assert asyncio.run(main()) == 8


def test_a_middleware_that_forgets_to_return_its_call_is_named() -> None:
    """When the chain is built: at the first operation nobody would know whose fault it is."""

    def forgetful(next: Any) -> Any:
        def call(operation: Any) -> Any:
            return next(operation)

    with pytest.raises(RegistrationError, match="forgetful gave no call"):
        chain(lambda operation: operation, [forgetful])


def test_what_cannot_be_called_is_named() -> None:
    """An instance where a function was meant."""

    class Audit:
        pass

    wrong: Any = Audit()
    with pytest.raises(RegistrationError, match="Audit is no middleware"):
        chain(lambda operation: operation, [wrong])
