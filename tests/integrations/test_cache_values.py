"""How values are packed for the frameworks' caches, and what is told of those that cannot be unpacked."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from wellwired.integrations._cache_values import CacheValues
from wellwired.stores.codecs import MsgpackCodec
from wellwired.testing.clock import VirtualClock

_SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_ANY = st.recursive(_SIMPLE, lambda held: st.lists(held) | st.dictionaries(st.text(), held) | st.tuples(held, held))


@given(_ANY)
def test_a_value_comes_back_through_the_usual_codec(value: Any) -> None:
    """Of the same type, whatever the codec of a store would make of the value itself."""
    values, codec = CacheValues("stores.tried"), MsgpackCodec()
    found = values.unpack(codec.decode(codec.encode(values.pack(value))), "nothing")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64 - 1, -(2**63)])
def test_a_number_is_stored_as_it_is(number: int) -> None:
    """As far as codecs have room for it."""
    assert CacheValues("stores.tried").pack(number) == number


@pytest.mark.parametrize("value", [True, 2**64, -(2**63) - 1, 1.0, "1", None, b"1"])
def test_everything_else_is_a_pickle(value: Any) -> None:
    """Of a protocol that every supported Python reads."""
    assert CacheValues("stores.tried").pack(value) == pickle.dumps(value, 5)


@given(st.binary())
def test_bytes_that_are_no_pickle_never_raise(damaged: bytes) -> None:
    """They are the default, or by chance a value."""
    CacheValues("stores.tried").unpack(damaged, "default")


def test_what_cannot_be_read_is_told_once_a_minute(virtual_clock: VirtualClock) -> None:
    """With the cache's name and the kind of the fault, and neither key nor value; all are counted."""
    values = CacheValues("stores.tried", virtual_clock)
    with capture_logs() as told:
        assert [values.unpack(packed, "default") for packed in (b"secret", "secret", ["secret"])] == ["default"] * 3
        virtual_clock.advance(61)
        values.unpack("secret", None)
    assert [line["event"] for line in told] == ["cache.value_unreadable"] * 2
    assert told[0]["log_level"] == "warning" and told[0]["cache"] == "stores.tried"
    assert [line["unreadable"] for line in told] == [1, 4] and told[1]["reason"] == "foreign"
    assert "secret" not in repr(told) and values.unreadable == 4
