"""What is the same for a request of any framework: its scope is active when asked for, and ends once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integrations.shop import Shop
from wellwired.errors import NoScopeError, StateError
from wellwired.integrations._requests import Pieces, ScopedRequest


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A container at work."""
    with Shop() as shop:
        yield shop


def test_a_scope_is_active_inside_only(shop: Shop) -> None:
    """Again and again, with the same objects, until it ends."""
    request = ScopedRequest(shop)
    with request.active():
        visit = shop.visit()
    with pytest.raises(NoScopeError):
        shop.visit()
    with request.active():
        assert shop.visit() is visit
    request.close()
    with pytest.raises(StateError, match="closed"):
        request.active()


def test_the_first_error_counts(shop: Shop) -> None:
    """What fails because of it, such as an error page, is not what ended the request."""
    request = ScopedRequest(shop)
    with request.active():
        shop.visit()
    request.failed(KeyError("first"))
    request.failed(ValueError("second"))
    request.close()
    request.close()
    assert shop.log()[-1] == "visit 1 ended by KeyError"


def test_every_piece_is_made_inside(shop: Shop) -> None:
    """And nothing between them is."""
    request = ScopedRequest(shop)
    pieces = Pieces((shop.visit() for _ in range(2)), request)
    first = next(pieces)
    with pytest.raises(NoScopeError):
        shop.visit()
    assert next(pieces) is first and next(pieces, None) is None
    request.close()
    assert shop.log()[-1] == "visit 1 ended well"
