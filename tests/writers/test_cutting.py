"""Cutting a connection: the right socket, never another, and nobody has to wait for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.sql_kit import running
from wellwired.writers import _cutting
from wellwired.writers._cutting import Cutter, killing, shut_down


class Driver:
    """A driver's connection as far as cutting is concerned."""

    def __init__(self, *sockets: socket.socket) -> None:
        self._sockets = list(sockets)

    def fileno(self) -> int:
        """Each time the next socket's; then the last one's."""
        first = self._sockets[0]
        if len(self._sockets) > 1:
            del self._sockets[0]
        return first.fileno()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection."""
    near, far = socket.socketpair()
    near.settimeout(10)
    yield near, far
    near.close()
    far.close()


class TestShutDown:
    """The client's side."""

    def test_whoever_waits_is_woken(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """A thread that reads gets the end of the stream at once."""
        near, _ = pair
        with running(lambda: near.recv(1)) as results:
            shut_down(Driver(near))

        assert results == [b""]

    def test_the_descriptor_itself_stays_open(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """It belongs to the driver, who will close it: closing it here could close another's."""
        near, _ = pair
        shut_down(Driver(near))

        assert near.fileno() >= 0
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM

    def test_a_descriptor_that_changed_hands_is_left_alone(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """If the driver's connection has another descriptor afterwards, what was duplicated may be anybody's."""
        near, far = pair
        shut_down(Driver(near, far))

        far.send(b"x")
        assert near.recv(1) == b"x"

    def test_a_closed_connection_is_no_trouble(self, pair: tuple[socket.socket, socket.socket]) -> None:
        """Drivers say so in many ways; each is taken for what it is."""
        near, _ = pair
        near.close()
        shut_down(Driver(near))
        shut_down(object())

        class Closed:
            def fileno(self) -> int:
                raise RuntimeError("the connection is closed")

        shut_down(Closed())


class TestCutter:
    """The server's side."""

    @pytest.fixture
    def cutter(self, monkeypatch: pytest.MonkeyPatch) -> Cutter:
        """For an engine that nothing connects to; asking is up to the test."""
        return Cutter(killing(sa.create_engine("postgresql+psycopg://nowhere/none")))

    def test_the_server_is_asked_on_another_thread(
        self, cutter: Cutter, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cutting does not wait for the server, which may be unreachable."""
        asked, go_on = threading.Event(), threading.Event()

        def ask() -> None:
            asked.set()
            go_on.wait(10)

        monkeypatch.setattr(Cutter, "_request", lambda _self, _driver: ask)
        cutter.cut(Driver(pair[0]))

        assert asked.wait(10)
        assert pair[0].recv(1) == b""
        go_on.set()

    def test_a_few_requests_at_once_are_enough(
        self, cutter: Cutter, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the server unreachable the threads do not pile up; a renewed cutter starts from none."""
        started, go_on, done = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

        def ask() -> None:
            started.release()
            go_on.wait(10)
            done.release()

        monkeypatch.setattr(Cutter, "_request", lambda _self, _driver: ask)
        for _ in range(20):
            cutter.cut(Driver(pair[0]))
        for _ in range(_cutting._MOST_REQUESTS):
            assert started.acquire(timeout=10)
        assert not started.acquire(timeout=0.05)

        cutter.renew()
        cutter.cut(Driver(pair[0]))
        assert started.acquire(timeout=10)
        go_on.set()
        for _ in range(_cutting._MOST_REQUESTS + 1):
            assert done.acquire(timeout=10)

    def test_a_request_that_fails_is_no_trouble(
        self, cutter: Cutter, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server may be gone, which is what was wanted; the place for the next request is free again."""
        asked = threading.Semaphore(0)

        def ask() -> None:
            asked.release()
            raise OSError("gone")

        monkeypatch.setattr(Cutter, "_request", lambda _self, _driver: ask)
        for _ in range(3 * _cutting._MOST_REQUESTS):
            cutter.cut(Driver(pair[0]))
            assert asked.acquire(timeout=10)

    def test_without_a_thread_the_client_is_cut_all_the_same(
        self, cutter: Cutter, pair: tuple[socket.socket, socket.socket], mocker: Any
    ) -> None:
        """A process that can start no thread still frees the one that waits."""
        mocker.patch.object(Cutter, "_request", return_value=lambda: None)
        mocker.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread"))

        cutter.cut(Driver(pair[0]))

        assert pair[0].recv(1) == b""

    def test_a_connection_without_a_session_asks_nobody(
        self, cutter: Cutter, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """What the driver cannot say is not asked."""
        cutter.cut(Driver(pair[0]))
        Cutter(killing(sa.create_engine("mysql+pymysql://nowhere/none"))).cut(Driver(pair[0]))

        assert pair[0].recv(1) == b""
