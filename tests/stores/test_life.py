"""Lives and clocks: rounding only ever shortens, and a reading of a server's clock never promises too much."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.stores._life import Reading, milliseconds

SECONDS = st.floats(0, 1e9)


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [(None, None), (math.inf, None), (1.0, 1000), (0.0015, 1), (0.0004, 0), (0, 0), (-5, 0), (1e30, 10**15)],
)
def test_seconds_become_whole_milliseconds(ttl: float | None, expected: int | None) -> None:
    """None and infinity are for ever; what is less than a millisecond is nothing."""
    assert milliseconds(ttl) == expected


def test_a_ttl_must_be_a_number() -> None:
    """A NaN compares as neither more nor less than zero and would slip through every check."""
    with pytest.raises(ValueError, match="nan"):
        milliseconds(math.nan)


@given(SECONDS)
def test_rounding_never_lengthens(ttl: float) -> None:
    """The milliseconds are at most the seconds, and less than one short of them."""
    life = milliseconds(ttl)
    assert life is not None and ttl * 1000 - 1 <= life <= ttl * 1000


@given(
    server=st.floats(1e12, 2e12),
    before=SECONDS,
    there=st.floats(0, 5),
    back=st.floats(0, 5),
    later=st.floats(0, 10),
    drift=st.floats(-0.0004, 0.0004),
)
def test_a_reading_brackets_the_servers_clock(  # noqa: PLR0917
    server: float, before: float, there: float, back: float, later: float, drift: float
) -> None:
    """Whatever the journey took and however the clocks drift, the truth lies between earliest and latest."""
    read_at, after = before + there, before + there + back
    reading = Reading(int(server), before, after)
    now = after + later
    truth = server + (now - read_at) * 1000 * (1 + drift)
    assert reading.earliest(now) <= truth + 1e-3
    assert truth <= reading.latest(now) + 1e-3


@given(ttl=st.integers(1, 10**9), writer=st.floats(0, 5), reader=st.floats(0, 5), gap=st.floats(0, 10))
def test_what_is_left_is_never_more_than_the_server_knows(ttl: int, writer: float, reader: float, gap: float) -> None:
    """Stamped by one process and read by another, with clocks of their own, a life is shortened and never extended."""
    start = 1_700_000_000_000.0
    stamp = Reading(int(start), 0.0, writer).earliest(writer) + ttl  # the writer's monotonic clock begins at 0
    set_at = start + writer * 1000
    elsewhere = 86_400.0  # the reader's monotonic clock is a day ahead
    asked = set_at + gap * 1000
    latest = Reading(int(asked), elsewhere, elsewhere + reader).latest(elsewhere + reader)
    truly_left = set_at + ttl - (asked + 0)
    assert stamp - latest <= truly_left
