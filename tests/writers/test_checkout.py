"""Checkouts keep to the deadline: a frozen server costs a write no more, whatever the driver's patience."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.servers import PrivateServer
from tests.writers.sql_kit import count, insert_one, metadata, running, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteTimeoutError
from wellwired.handlers import Registry, handler
from wellwired.middleware import SILENT
from wellwired.operations import WriteRequest
from wellwired.testing.clock import VirtualClock
from wellwired.writers import WriteManager, _checkout
from wellwired.writers._checkout import Checkout, CheckoutLateError, bound_checkouts
from wellwired.writers._watch import Watch
from wellwired.writers.sql import SQLWriter

Start = Callable[..., PrivateServer]


@pytest.fixture(
    params=[
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def server(request: pytest.FixtureRequest, private_mariadb: Start, private_postgresql: Start) -> PrivateServer:
    """A server of the test's own, which may be frozen."""
    return private_mariadb() if request.param == "mariadb" else private_postgresql()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def late(writer: SQLWriter, seconds: float = 0.5) -> float:
    """Has a write time out, and says how many seconds after its deadline."""
    deadline = Deadline.after(seconds)
    with pytest.raises(WriteTimeoutError) as caught:
        write(writer, payload={"id": 9, "balance": 0}, deadline=deadline)
    after = Deadline.after(0).at - deadline.at
    assert (caught.value.outcome, caught.value.retry, caught.value.phase) == (
        Outcome.NOT_APPLIED,
        Retry.SAFE,
        Phase.CHECKOUT,
    )
    return after


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection counts as one that has been idle for long."""
    monkeypatch.setattr(_checkout, "_MOMENT", 0.0)


@pytest.mark.usefixtures("idle")
def test_a_frozen_server_is_neither_pinged_nor_connected_to_past_the_deadline(server: PrivateServer) -> None:
    """Pre-ping of an idle connection, and the making of a new one, end at the deadline; then writing goes on."""
    engine = sa.create_engine(server.url, pool_pre_ping=True, pool_size=1)
    fresh = sa.create_engine(server.url)
    metadata.create_all(engine)
    pinging, connecting = SQLWriter("sql.main", engine), SQLWriter("sql.other", fresh)
    write(pinging)
    server.pause()
    try:
        assert late(pinging) < 1.5
        assert late(connecting) < 1.5
        assert late(pinging) < 1.5
    finally:
        server.resume()

    for writer, number in ((pinging, 2), (connecting, 3)):
        assert write(writer, payload={"id": number, "balance": 0}).success
    assert count(engine) == 3
    engine.dispose()
    fresh.dispose()


@pytest.mark.usefixtures("idle")
def test_many_threads_before_a_frozen_server_are_all_in_time(server: PrivateServer) -> None:
    """Each has its own deadline, and none waits for another's connection attempt."""
    engine = sa.create_engine(server.url, pool_pre_ping=True, pool_size=2, max_overflow=4)
    metadata.create_all(engine)
    writer = SQLWriter("sql.main", engine)
    write(writer)
    server.pause()
    try:
        with running(*[lambda: late(writer)] * 6) as results:
            pass
    finally:
        server.resume()

    assert all(isinstance(result, float) and result < 2 for result in results), results
    assert count(engine) == 1
    engine.dispose()


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_server_that_never_greets_is_given_up_at_the_deadline(scheme: str, mute: int) -> None:
    """A connection that is accepted and not answered is bounded without any timeout of the driver's."""
    engine = sa.create_engine(f"{scheme}://someone@127.0.0.1:{mute}/nothing")

    assert late(SQLWriter("sql.main", engine), 0.3) < 1.5
    engine.dispose()


class TestHooks:
    """What the hooks leave as it is."""

    def test_a_connection_keeps_the_applications_own_timeouts(self, mariadb_url: str) -> None:
        """What the write had left bounds the making of a connection, and not its life."""
        engine = sa.create_engine(mariadb_url, connect_args={"read_timeout": 33, "connect_timeout": 7})
        metadata.create_all(engine)
        engine.dispose()
        write(SQLWriter("sql.main", engine), seconds=5)

        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            assert (driver._read_timeout, driver._write_timeout) == (33, None)
        engine.dispose()

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_the_applications_own_listeners_are_asked_too(self, sql_url: str) -> None:
        """One that puts a fresh password in, added before or after the writer, is heard once for each connection."""
        engine = sa.create_engine(sql_url, pool_pre_ping=True)
        heard: list[str] = []
        event.listen(engine, "do_connect", lambda *_: heard.append("before"))
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)
        write(writer)
        event.listen(engine, "do_connect", lambda *_: heard.append("after"))
        engine.dispose()
        heard.clear()

        assert write(writer, payload={"id": 2, "balance": 0}).success

        assert heard == ["before", "after"]
        engine.dispose()

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_a_connection_that_a_listener_makes_is_used(self, sql_url: str) -> None:
        """A listener may make the connection itself; it is taken as it is."""
        engine = sa.create_engine(sql_url)
        made: list[Any] = []

        def own(dialect: Any, _record: Any, positional: list[Any], named: dict[str, Any]) -> Any:
            made.append(dialect.connect(*positional, **named))
            return made[-1]

        bound_checkouts(engine)
        event.listen(engine, "do_connect", own)
        metadata.create_all(engine)
        engine.dispose()

        assert write(SQLWriter("sql.main", engine)).success
        assert len(made) == 2
        engine.dispose()

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_others_find_no_difference(self, sql_url: str) -> None:
        """A plain connection of the same engine is pinged and made as before; hooking twice changes nothing."""
        engine = sa.create_engine(sql_url, pool_pre_ping=True)
        bound_checkouts(engine)
        ping = engine.dialect.do_ping
        bound_checkouts(engine)
        assert engine.dialect.do_ping == ping

        for _ in range(2):
            with engine.connect() as connection:
                assert connection.scalar(sa.text("SELECT 1")) == 1
        engine.dispose()

    def test_two_threads_do_not_share_a_mark(self, postgresql_url: str) -> None:
        """While one thread checks out in a hurry, another's plain connection has all the time it wants."""
        engine = sa.create_engine(postgresql_url, pool_pre_ping=True)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)
        inside, go = threading.Event(), threading.Event()

        @event.listens_for(engine, "checkout")
        def hold(*_: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                go.wait(10)

        def hurried() -> Any:
            return write(writer, seconds=5)

        with running(hurried) as results:
            assert inside.wait(10)
            with engine.connect() as connection:
                assert connection.scalar(sa.text("SELECT 1")) == 1
            go.set()

        assert results[0].success
        engine.dispose()


def test_a_wrong_password_is_no_lost_server(private_postgresql: Start) -> None:
    """psycopg gives no code for a refused login, but it knows whether the server asked for a password."""
    server = private_postgresql()
    admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE ROLE someone LOGIN PASSWORD 'right'")
        path = connection.scalar(sa.text("SHOW hba_file"))
        with open(path, "w") as file:  # noqa: PTH123
            file.write("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    admin.dispose()
    url = sa.make_url(server.url).set(username="someone")
    reasons = []
    for password in (None, "wrong"):
        engine = sa.create_engine(url.set(password=password))
        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", engine))
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert "wrong" not in str(caught.value)
        reasons.append((caught.value.reason, caught.value.retry))
        engine.dispose()

    assert reasons == [("permission", Retry.NEVER), ("login", Retry.SAFE)]


def test_a_checkout_without_a_wait_starts_nothing() -> None:
    """An idle connection without pre-ping is taken without a guard."""
    checkout = Checkout(None, Deadline.after(5))  # type: ignore[arg-type]
    with checkout:
        assert checkout.left() > 4

    assert not checkout.fired


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_a_connection_that_has_just_answered_is_not_pinged(sql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for a write; for others it is, as their engine has it, and for a write too once it has been idle."""
    engine = sa.create_engine(sql_url, pool_pre_ping=True, pool_size=1, max_overflow=0)
    metadata.create_all(engine)
    pinged: list[Any] = []
    usual = engine.dialect.do_ping
    monkeypatch.setattr(engine.dialect, "do_ping", lambda driver: pinged.append(driver) or usual(driver))
    writer = SQLWriter("sql.main", engine)
    write(writer, payload={"id": 1, "balance": 0})
    pinged.clear()
    write(writer, payload={"id": 2, "balance": 0})
    assert pinged == []
    assert count(engine) == 2
    assert len(pinged) == 1
    monkeypatch.setattr(_checkout, "_MOMENT", 0.0)
    write(writer, payload={"id": 3, "balance": 0})
    assert len(pinged) == 2
    engine.dispose()


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_a_session_that_ends_right_after_an_answer_costs_a_retry(sql_url: str) -> None:
    """The write that meets it unpinged is not applied and safe, and the manager's next attempt does it, once."""
    engine, other = sa.create_engine(sql_url, pool_pre_ping=True, pool_size=1), sa.create_engine(sql_url)
    metadata.create_all(engine)
    sessions: list[int] = []

    @handler("test", backend="sql")
    def note(request: WriteRequest, connection: sa.Connection) -> int:
        mine = "pg_backend_pid()" if connection.dialect.name == "postgresql" else "connection_id()"
        sessions.append(connection.scalar(sa.text(f"SELECT {mine}")) or 0)
        return insert_one(request, connection)

    manager = WriteManager([SQLWriter("sql.main", engine, handlers=Registry(note))], logger=SILENT)
    manager.write(WriteRequest("sql.main", "test", {"id": 1, "balance": 0}))
    with other.connect() as connection:
        kill = "SELECT pg_terminate_backend(:n, 10000)" if other.dialect.name == "postgresql" else "KILL :n"
        connection.execute(sa.text(kill), {"n": sessions[0]})
    result = manager.write(WriteRequest("sql.main", "test", {"id": 2, "balance": 0}))
    assert (result.attempts, count(engine)) == (2, 2)
    engine.dispose()
    other.dispose()


def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made while the deadline passed belongs to nobody, and would be left open."""
    clock = VirtualClock()
    closed: list[bool] = []

    class Driver:
        def close(self) -> None:
            closed.append(True)

    def slow(*_: Any) -> Driver:
        clock.advance(2)
        return Driver()

    monkeypatch.setattr(_checkout, "connect", slow)
    engine = sa.create_engine("postgresql+psycopg://127.0.0.1:1/none")
    bound_checkouts(engine)
    with Checkout(Watch("sql.main"), Deadline.after(1, clock)), pytest.raises(CheckoutLateError):
        engine.connect()
    assert closed == [True]
    engine.dispose()


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_nobody_waits_past_its_deadline_for_an_engines_first_connection(sql_url: str) -> None:
    """SQLAlchemy sets up the first connection for all and has them wait; a write waits no longer than it may."""
    engine = sa.create_engine(sql_url)
    begun, release, waited = threading.Event(), threading.Event(), list[bool]()

    @event.listens_for(engine, "connect")
    def slow(_driver: Any, _record: Any) -> None:
        begun.set()
        waited.append(release.wait(20))

    writer = SQLWriter("sql.main", engine)
    with running(lambda: write(writer, lambda *_: 1, seconds=60)) as results:
        assert begun.wait(20)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, lambda *_: 2, seconds=0.2)
        assert waited == []
        release.set()

    assert (caught.value.outcome, caught.value.phase) == (Outcome.NOT_APPLIED, Phase.CHECKOUT)
    assert results[0].data == 1
    assert write(writer, lambda *_: 3).data == 3
    engine.dispose()
