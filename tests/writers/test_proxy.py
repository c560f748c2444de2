"""The fault proxy does to a message what it says, and to no other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.writers.proxy import Fault, Hit, Proxy
from tests.writers.wire import Message


class Echo:
    """A server that keeps what it hears, and says it again."""

    def __init__(self) -> None:
        self.heard = b""
        self.changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(peer,), daemon=True))
                self._threads[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            while data := peer.recv(1_000):
                with self.changed:
                    self.heard += data
                    self.changed.notify_all()
                peer.sendall(data)

    def hears(self, data: bytes) -> bool:
        """Waits until this is all that was heard."""
        with self.changed:
            return self.changed.wait_for(lambda: self.heard == data, 20)

    def close(self) -> None:
        """Ends."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A server that says everything again."""
    server = Echo()
    yield server
    server.close()


def _said(peer: socket.socket) -> bytes:
    try:
        return peer.recv(1_000)
    except ConnectionResetError:
        return b"reset"
    except TimeoutError:
        return b"silence"


@pytest.mark.parametrize(
    ("fault", "heard", "said"),
    [
        (Fault.LOSE_ANSWER, b"oneCOMMIT", b""),
        (Fault.LOSE_REQUEST, b"one", b""),
        (Fault.RESET, b"one", b"reset"),
        (Fault.TEAR, b"oneCOM", b""),
        (Fault.SILENCE, b"one", b"silence"),
        (Fault.NO_ANSWER, b"oneCOMMIT", b"silence"),
        (Fault.LATE_REQUEST, b"oneCOMMIT", b"COMMIT"),
        (Fault.LATE_ANSWER, b"oneCOMMIT", b"COMMIT"),
    ],
)
def test_a_fault_is_what_it_says(echo: Echo, fault: Fault, heard: bytes, said: bytes) -> None:
    """What reaches the server, and what comes back; the message before and other connections pass untouched."""
    seconds = 60.0 if said == b"silence" else 0.05

    def judge(number: int, _before: int, message: Message) -> Hit | None:
        return Hit(fault, seconds) if message.data == b"COMMIT" and number == 0 else None

    with Proxy(echo.port, judge=judge) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 20) as client:
        client.sendall(b"one")
        assert _said(client) == b"one"
        client.settimeout(0.2 if said == b"silence" else 20)
        client.sendall(b"COMMIT")
        # The answer to half a message may be quicker than the end of the connection.
        assert _said(client) in {said, b"COM" if fault is Fault.TEAR else said}
        assert echo.hears(heard)
        assert [hit for _, hit in proxy.hits] == [fault]
        with socket.create_connection(("127.0.0.1", proxy.port), 20) as other:
            other.sendall(b"COMMIT")
            assert _said(other) == b"COMMIT"


def test_what_is_late_arrives_though_nobody_waits(echo: Echo) -> None:
    """A request that is held back reaches the server after its sender has gone, and `settle` waits for that."""
    with Proxy(echo.port, judge=lambda *_: Hit(Fault.LATE_REQUEST, 0.1)) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), 20) as client:
            client.sendall(b"COMMIT")
        assert echo.hears(b"COMMIT")
        assert proxy.settle(20)


def test_a_server_that_is_gone_ends_the_connection(echo: Echo) -> None:
    """The proxy goes on listening when there is nobody to pass anything on to."""
    with Proxy(echo.port) as proxy:
        echo.close()
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", proxy.port), 20) as client:
                assert _said(client) in {b"", b"reset"}
