"""Tests of handlers made from functions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wellwired.errors import RegistrationError
from wellwired.handlers import FunctionHandler, Handler, HandlerTraits, handler, traits
from wellwired.operations import WriteRequest


class Profile(msgspec.Struct):
    """A payload model."""

    id: int


@handler("profile", backend="sql", payload=Profile, idempotent=True)
def store_profile(request: WriteRequest, connection: list[Any]) -> int:
    """Stores a profile."""
    connection.append(request.payload)
    return len(connection)


REQUEST = WriteRequest("sql.main", "profile", {"id": 1})


def test_a_decorated_function_is_a_handler() -> None:
    """With the type and all else that the decorator was told."""
    assert isinstance(store_profile, Handler)
    assert isinstance(store_profile, FunctionHandler)
    assert store_profile.type == "profile"
    assert traits(store_profile) == HandlerTraits("sql", Profile, True, False)


def test_a_decorated_function_can_be_called() -> None:
    """By itself, as in a test, without anything around it."""
    rows: list[Any] = []
    assert store_profile(REQUEST, rows) == 1
    assert store_profile.handle(REQUEST, rows) == 2
    assert rows == [{"id": 1}, {"id": 1}]


def test_a_decorated_function_keeps_its_name_and_text() -> None:
    """Documentation and tracebacks show the function."""
    assert store_profile.__doc__ == "Stores a profile."
    assert getattr(store_profile, "__name__", "") == "store_profile"


def test_only_the_type_is_needed() -> None:
    """The rest has the defaults of any handler."""

    @handler("plain", uses_client=True)
    def plain(request: WriteRequest, connection: Any) -> None: ...

    assert traits(plain) == HandlerTraits(uses_client=True)


def test_a_repr_says_type_and_backend() -> None:
    """In a log or a debugger one can tell handlers apart."""
    assert repr(store_profile) == "<handler of 'profile' for 'sql'>"
    assert repr(handler("any")(lambda request, connection: None)) == "<handler of 'any'>"


def test_a_wrong_argument_is_refused_at_once() -> None:
    """Where the function is decorated, and not at the first write."""
    wrong: Any = "Profile"
    with pytest.raises(RegistrationError, match="payload_model"):
        handler("profile", payload=wrong)(lambda request, connection: None)
    with pytest.raises(RegistrationError, match="type"):
        handler("")(lambda request, connection: None)
