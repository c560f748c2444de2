"""A loopback proxy that can lose what passes through it at a chosen moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType

__all__ = ["Fault", "Proxy"]


class Fault(Enum):
    """What happens to the first packet of the client's that holds the trigger."""

    LOSE_ANSWER = auto()
    """It reaches the server, and the connection breaks when the server has answered."""
    LOSE_REQUEST = auto()
    """It does not reach the server, and the connection breaks."""
    SILENCE = auto()
    """It does not reach the server, and the connection stays open without a word."""


class Proxy:
    """Listens on a port of its own and passes everything on to a server, until the fault is armed.

    Args:
        port: the server's port on loopback.
        trigger: which bytes of the client's set off the fault.
    """

    def __init__(self, port: int, trigger: bytes = b"COMMIT") -> None:
        self._upstream = port
        self._trigger = trigger
        self._fault: Fault | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._spawn(self._accept)

    def arm(self, fault: Fault) -> None:
        """Has the next packet with the trigger meet a fault; what comes later on other connections passes."""
        self._fault = fault

    def close(self) -> None:
        """Breaks every connection and ends."""
        # A listener that is only closed would leave its thread waiting in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for sock in [self._listener, *self._sockets]:
            _break(sock)
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
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._sockets += [client, server]
                fate: list[Fault] = []
                self._spawn(self._forward, client, server, fate)
                self._spawn(self._back, client, server, fate)

    def _forward(self, client: socket.socket, server: socket.socket, fate: list[Fault]) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self._fault is not None and self._trigger in data:
                    fate.append(self._fault)
                    self._fault = None
                if not fate or fate[0] is Fault.LOSE_ANSWER:
                    server.sendall(data)
                elif fate[0] is Fault.LOSE_REQUEST:
                    break
        _break(client)
        _break(server)

    def _back(self, client: socket.socket, server: socket.socket, fate: list[Fault]) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if Fault.LOSE_ANSWER in fate:
                    break
                client.sendall(data)
        _break(client)
        _break(server)


def _break(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
