"""Tests of what a handler must be and what is read from it."""

from __future__ import annotations

from typing import Any

import pytest

from wellwired.errors import RegistrationError
from wellwired.handlers import Handler, HandlerTraits, traits
from wellwired.operations import WriteRequest


class Model:
    """A payload model of no known kind; `traits` does not look into it."""


class Plain:
    """A handler that says nothing about itself."""

    type = "plain"

    def handle(self, request: WriteRequest, connection: Any, /) -> None:
        """Does nothing."""


class Talkative(Plain):
    """A handler that says everything about itself."""

    type = "talkative"
    backend = "redis"
    payload_model = Model
    idempotent = True
    uses_client = True


def faulty(**attributes: Any) -> Any:
    """A handler with these class attributes."""
    return type("Faulty", (Plain,), attributes)()


def test_a_plain_class_is_a_handler() -> None:
    """It needs a type and a handle, and inherits nothing."""
    assert isinstance(Plain(), Handler)
    assert not isinstance(object(), Handler)


def test_what_a_handler_does_not_say_has_a_default() -> None:
    """For any backend, no model, not idempotent, no client."""
    assert traits(Plain()) == HandlerTraits("", None, False, False)


def test_what_a_handler_says_is_read() -> None:
    """Each optional attribute arrives."""
    assert traits(Talkative()) == HandlerTraits("redis", Model, True, True)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"type": ""}, "`type`"),
        ({"type": None}, "`type`"),
        ({"type": 7}, "`type`"),
        ({"handle": None}, "handle"),
        ({"backend": None}, "`backend`"),
        ({"payload_model": "Model"}, "`payload_model`"),
        ({"payload_model": {"name": str}}, "`payload_model`"),
    ],
)
def test_a_wrong_attribute_is_named(attributes: dict[str, Any], named: str) -> None:
    """The error says which one, so that it can be mended."""
    with pytest.raises(RegistrationError) as caught:
        traits(faulty(**attributes))
    assert named in str(caught.value)
