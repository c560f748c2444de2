"""Tests of how objects with an end are begun and ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wellwired.containers._initialiser import Begun, begin, synchronous
from wellwired.errors import DeclarationError


@contextmanager
def managed(log: list[str]) -> Iterator[str]:
    """A manager that writes down what ended it."""
    try:
        yield "value"
    except ValueError as error:
        log.append(f"rolled back for {error}")
        raise
    finally:
        log.append("left")


def test_what_is_not_declared_is_left_alone() -> None:
    """An object with `__enter__` of its own is the object."""
    manager = open  # any object will do

    begun = begin(manager, entered=False, closer=None)
    assert begun.value is manager and begun.leave is None
    begun.end()


def test_the_error_that_ends_the_use_is_told_and_does_not_come_back() -> None:
    """A manager may roll back; that it passes the error on is no failure of its ending."""
    log: list[str] = []
    begun = begin(managed(log), entered=False, closer=lambda value: log.append(f"closed {value}"))
    begun.end(ValueError("stock"))
    assert log == ["rolled back for stock", "left", "closed value"]


def test_an_error_of_the_ending_itself_comes_out() -> None:
    """Another error than the one it was told is the ending's own."""

    @contextmanager
    def failing() -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise OSError("rollback failed") from None

    with pytest.raises(OSError, match="rollback failed"):
        begin(failing(), entered=False, closer=None).end(ValueError("stock"))


def test_a_manager_that_swallows_the_error_has_ended_well() -> None:
    """Whether the error is swallowed is the business of whoever raised it."""

    @contextmanager
    def swallowing() -> Iterator[None]:
        try:
            yield
        except ValueError:
            pass

    begin(swallowing(), entered=False, closer=None).end(ValueError("stock"))


def test_a_closer_that_fails_comes_out() -> None:
    """The declared closing is an ending like any other."""

    def closer(value: Any) -> None:
        raise OSError(f"cannot close {value}")

    with pytest.raises(OSError, match="cannot close 3"):
        Begun(3, None, closer).end()


def test_a_generator_function_becomes_a_manager() -> None:
    """Only generator functions are changed; all other callables stay what they are."""

    def generate() -> Iterator[int]:
        yield 1

    wrapped = synchronous(generate, "Resource")
    assert begin(wrapped(), entered=False, closer=None).value == 1
    assert wrapped.__wrapped__ is generate
    for other in (dict, len, lambda: 1, None, "builtins.dict", wrapped):
        assert synchronous(other, "Resource") is other


def test_an_asynchronous_initialiser_is_named() -> None:
    """The error names the kind of provider and the function."""

    async def connect() -> None: ...

    with pytest.raises(DeclarationError, match=r"Scoped of .*connect"):
        synchronous(connect, "Scoped")
