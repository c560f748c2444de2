"""What is known of a server's clock: bounds that hold, whatever the clocks and the network do within their limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.clock import Deadline
from wellwired.testing.clock import VirtualClock
from wellwired.writers._redis_clock import Reading, ServerClocks

_MICRO = 1_000_000
_ways = st.floats(0, 3)
_rates = st.floats(1 - 0.0009, 1 + 0.0009)


class Server:
    """A connection to a server whose clock runs at a rate of its own, over a way that takes its time."""

    def __init__(self, clock: VirtualClock, *, shown: float = 5e8, rate: float = 1.0, way: float = 0.0) -> None:
        self.inner = self
        self.socket: Any = object()
        self.asked = 0
        self.rate, self.way = rate, way
        self._clock, self._zero, self._shown = clock, clock.monotonic(), shown

    def time(self) -> float:
        """What its clock shows now, in seconds."""
        return self._shown + (self._clock.monotonic() - self._zero) * self.rate

    def set(self, seconds: float) -> None:
        """Sets its clock forward, or back."""
        self._shown += seconds

    def send_command(self, *words: Any) -> None:
        """Takes the question along."""
        assert words == ("TIME",)
        self.asked += 1
        self._clock.advance(self.way)

    def read_response(self) -> list[bytes]:
        """Looks at the clock, and brings the answer back."""
        now = int(self.time() * _MICRO)
        self._clock.advance(self.way)
        return [b"%d" % (now // _MICRO), b"%d" % (now % _MICRO)]


@given(way_there=_ways, way_back=_ways, rate=_rates, later=st.floats(0, 10))
def test_a_reading_bounds_the_clock(way_there: float, way_back: float, rate: float, later: float) -> None:
    """Between the earliest and the latest lies what the server shows, however the round trip was divided."""
    looked = 100.0
    reading = Reading(5_000_000_000, looked - way_there, looked + way_back)
    moment = looked + way_back + later
    shows = 5_000_000_000 + (moment - looked) * rate * _MICRO

    assert reading.earliest(moment) <= shows + 2
    assert reading.latest(moment) >= shows - 2
    assert reading.doubt(moment) >= way_there + way_back - 1e-5


@given(ways=st.lists(st.tuples(_ways, _ways, st.floats(0, 9)), min_size=2, max_size=6), rate=_rates)
def test_the_sharper_of_two_readings_still_bounds_it(ways: list[tuple[float, float, float]], rate: float) -> None:
    """Whichever reading is kept, a deadline told by it is never after the real one."""
    moment, kept = 0.0, None
    for there, back, pause in ways:
        moment += pause
        before, looked = moment, moment + there
        moment = looked + back
        newer = Reading(int(looked * rate * _MICRO), before, moment)
        kept = newer if kept is None else kept.sharper(newer)
        deadline = moment + 1.0

        assert kept.earliest(deadline) <= deadline * rate * _MICRO + 2


def test_a_slow_answer_does_not_spoil_a_sharp_reading() -> None:
    """What was known well is kept for a while when a slow answer says less."""
    sharp, slow = Reading(0, 0.0, 0.001), Reading(_MICRO, 0.5, 3.0)

    assert sharp.sharper(slow) is sharp
    assert slow.sharper(Reading(4 * _MICRO, 4.0, 4.001)).after == 4.001


@pytest.mark.parametrize("step", [-20, 20])
def test_a_clock_that_was_set_is_believed_anew(step: int) -> None:
    """A reading that contradicts the old one takes its place, sharper or not."""
    old, new = Reading(100 * _MICRO, 0.0, 0.0001), Reading((101 + step) * _MICRO, 0.9, 1.1)

    assert old.sharper(new) is new


class TestServerClocks:
    """When a server is asked."""

    @pytest.fixture
    def clocks(self) -> ServerClocks:
        """Nothing is known yet."""
        return ServerClocks()

    def test_a_deadline_that_never_comes_asks_nothing(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """Without a deadline the server is told none."""
        server = Server(virtual_clock)

        assert clocks.limit(server, Deadline.never(virtual_clock)).at == ""
        assert server.asked == 0

    def test_the_limit_is_never_late(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """The server reaches the limit when our deadline comes, or before that, by at most the doubt."""
        server = Server(virtual_clock, way=0.05, rate=0.9995)
        deadline = Deadline.after(5, virtual_clock)

        limit = clocks.limit(server, deadline)
        virtual_clock.advance(deadline.left())

        assert isinstance(limit.at, int)
        assert 0 <= server.time() * _MICRO - limit.at <= limit.doubt * _MICRO
        assert 0.1 <= limit.doubt < 0.12

    def test_a_recent_reading_is_used_again(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """A server is asked once, and again when it has said nothing for ten seconds."""
        server = Server(virtual_clock)
        for pause, asked in [(0, 1), (1, 1), (8, 1), (2, 2)]:
            virtual_clock.advance(pause)
            clocks.limit(server, Deadline.after(5, virtual_clock))
            assert server.asked == asked

    def test_an_answer_is_a_reading_too(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """What a script's answer shows spares the question."""
        server = Server(virtual_clock)
        for _ in range(4):
            clocks.note(server, virtual_clock, virtual_clock.monotonic(), int(server.time() * _MICRO))
            virtual_clock.advance(9)
            clocks.limit(server, Deadline.after(5, virtual_clock))

        assert server.asked == 0

    def test_another_socket_is_another_server(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """A connection that was made again may lead elsewhere, so it is asked."""
        server = Server(virtual_clock)
        clocks.limit(server, Deadline.after(5, virtual_clock))
        server.socket = object()

        clocks.limit(server, Deadline.after(5, virtual_clock))

        assert server.asked == 2

    def test_another_clock_of_ours_is_another_reading(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """A reading is on one monotonic clock and says nothing on another."""
        server = Server(virtual_clock)
        clocks.limit(server, Deadline.after(5, virtual_clock))

        clocks.limit(server, Deadline.after(5, VirtualClock()))

        assert server.asked == 2

    def test_a_doubtful_reading_is_not_used_for_a_short_deadline(
        self, clocks: ServerClocks, virtual_clock: VirtualClock
    ) -> None:
        """If the doubt would cost a quarter of the time, the server is asked again."""
        server = Server(virtual_clock, way=1.0)
        clocks.limit(server, Deadline.after(100, virtual_clock))
        server.way = 0.0

        limit = clocks.limit(server, Deadline.after(4, virtual_clock))

        assert server.asked == 2
        assert limit.doubt < 0.01

    def test_a_connection_that_is_gone_is_forgotten(self, clocks: ServerClocks, virtual_clock: VirtualClock) -> None:
        """Readings do not keep connections alive."""
        server = Server(virtual_clock)
        server.inner = None  # type: ignore[assignment]
        kept = Server(virtual_clock)
        clocks.limit(kept, Deadline.after(5, virtual_clock))
        assert len(clocks._known) == 1

        kept.inner = None  # type: ignore[assignment]
        del kept

        assert len(clocks._known) == 0
