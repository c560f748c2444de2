"""A loopback proxy that can lose, hold back and tear what passes through it at a chosen moment.

It reads what the client sends message by message (see `wire`) and asks a judge about each: most pass. With `arm`
instead of a judge the next message with some bytes in it meets the fault.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from tests.writers.wire import Message, Moment, PacketWire, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "Hit", "Judge", "Proxy"]

_LONG = 3_600.0


class Fault(StrEnum):
    """What happens to a message of the client's."""

    LOSE_ANSWER = "lose answer"
    """It reaches the server, and the connection breaks when the server has answered."""
    LOSE_REQUEST = "lose request"
    """It does not reach the server, and the connection breaks."""
    RESET = "reset"
    """The same, and the client is told so rudely, by a reset."""
    TEAR = "tear"
    """Half of it reaches the server, and the connection breaks."""
    SILENCE = "silence"
    """It does not reach the server, and the connection stays open without a word, for some time."""
    NO_ANSWER = "no answer"
    """It reaches the server, and the connection stays open without a word, for some time."""
    LATE_REQUEST = "late request"
    """It reaches the server after some time, whether the client still waits or not."""
    LATE_ANSWER = "late answer"
    """It reaches the server, and the answer comes after some time."""


_AFTERWARDS = frozenset({Fault.LOSE_ANSWER, Fault.NO_ANSWER, Fault.LATE_ANSWER})


class Hit(NamedTuple):
    """A fault, and for how many seconds if it takes time."""

    fault: Fault
    seconds: float = _LONG


Judge = Callable[[int, int, Message], Hit | None]
"""Told the number of the connection, how many messages of this moment it has sent before, and the message."""


class Proxy:
    """Listens on a port of its own and passes everything on to a server, except for what meets a fault.

    Args:
        port: the server's port on loopback.
        trigger: which bytes of the client's set off the fault that was armed.
        wire: makes the reader of each connection.
        judge: says which messages meet which fault; called from many threads.
    """

    def __init__(
        self,
        port: int,
        trigger: bytes = b"COMMIT",
        *,
        wire: Callable[[], Wire] = PacketWire,
        judge: Judge | None = None,
    ) -> None:
        self.hits: list[tuple[Moment, Fault]] = []
        self._upstream = port
        self._trigger = trigger
        self._wire = wire
        self._judge = judge or self._triggered
        self._fault: Fault | None = None
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._held = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def arm(self, fault: Fault) -> None:
        """Has the next message with the trigger meet a fault; what comes later on other connections passes."""
        self._fault = fault

    def calm(self) -> None:
        """Has no further message meet a fault."""
        self._judge = lambda *_: None

    def settle(self, seconds: float) -> bool:
        """Waits until nothing is held back any more that could still reach the server.

        Returns:
            Whether that came within the seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._held == 0, seconds)

    def close(self) -> None:
        """Breaks every connection and ends."""
        self._ended.set()
        # A listener that is only closed would leave its thread waiting in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in list(self._links):
            link.sever()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the proxy hangs"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                link = _Link(len(self._links), client)
                self._links.append(link)
                self._spawn(self._serve, link)

    def _serve(self, link: _Link) -> None:
        with suppress(OSError):
            if self._pass(link, Message(Moment.CONNECT, b"")):
                self._forward(link)
        link.leave()

    def _forward(self, link: _Link) -> None:
        server = link.connect(self._upstream)
        self._spawn(self._back, link, server)
        wire = self._wire()
        while data := link.client.recv(65_536):
            for message in wire.feed(data):
                if not self._pass(link, message):
                    return

    def _pass(self, link: _Link, message: Message) -> bool:
        """Sends a message on, or does to it what the judge says; False if the connection is to end."""
        before = link.seen[message.moment]
        link.seen[message.moment] += 1
        hit = self._judge(link.number, before, message)
        if hit is None:
            link.send(message.data)
            return True
        self.hits.append((message.moment, hit.fault))
        if hit.fault is Fault.RESET:
            link.be_rude()
        elif hit.fault is Fault.TEAR:
            link.send(message.data[: len(message.data) // 2])
        elif hit.fault is Fault.SILENCE:
            link.swallow(hit.seconds)
        elif hit.fault is Fault.LATE_REQUEST:
            with self._holding():
                self._ended.wait(hit.seconds)
                link.send(message.data)
            return True
        elif hit.fault in _AFTERWARDS:
            link.answer = hit
            link.send(message.data)
            return True
        return False

    @contextmanager
    def _holding(self) -> Iterator[None]:
        with self._changed:
            self._held += 1
        try:
            yield
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()

    def _back(self, link: _Link, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                hit, link.answer = link.answer, None
                if hit is not None and hit.fault is Fault.LATE_ANSWER:
                    self._ended.wait(hit.seconds)
                elif hit is not None:
                    self._ended.wait(hit.seconds if hit.fault is Fault.NO_ANSWER else 0)
                    break
                link.client.sendall(data)
        link.leave()

    def _triggered(self, _number: int, _before: int, message: Message) -> Hit | None:
        fault = self._fault
        if fault is None or self._trigger not in message.data:
            return None
        self._fault = None
        return Hit(fault)


class _Link:
    """One connection of a client's, and the proxy's own to the server.

    Two threads use them. A socket that one of them closed could be somebody else's by the time that the other reads
    from its number; so whoever ends a link shuts it down, and the last to leave closes it.
    """

    def __init__(self, number: int, client: socket.socket) -> None:
        self.number = number
        self.client = client
        self.seen: Counter[Moment] = Counter()
        self.answer: Hit | None = None
        self._server: socket.socket | None = None
        self._lock = threading.Lock()
        self._users = 1
        self._over = False
        self._rude = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self, port: int) -> socket.socket:
        """Connects to the server, for a second user."""
        server = socket.create_connection(("127.0.0.1", port), 10)
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._server = server
            self._users += 1
            over = self._over
        if over:
            self.sever()
        return server

    def send(self, data: bytes) -> None:
        if self._server is not None:
            self._server.sendall(data)

    def swallow(self, seconds: float) -> None:
        """Reads what else the client sends, and drops it, until the client is gone or the time is over."""
        self.client.settimeout(seconds)
        with suppress(OSError):
            while self.client.recv(65_536):
                pass

    def be_rude(self) -> None:
        """Has the client told by a reset, when its socket is closed."""
        self._rude = True
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def sever(self) -> None:
        """Breaks both connections; whoever reads from them is woken."""
        with self._lock:
            self._over = True
            for sock in (None if self._rude else self.client, self._server):
                if sock is not None:
                    with suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Ends the link, on the way out of one of its users."""
        self.sever()
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.client.close()
        if self._server is not None:
            self._server.close()
