"""How MariaDB is made to refuse, code by code."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.servers.private import free_port
from tests.writers.codes.bench import Bench, Codes, Scene, saying
from tests.writers.proxy import Fault, Proxy
from tests.writers.wire import MySQLWire
from wellwired.errors import WriteError
from wellwired.operations import WriteResult
from wellwired.writers._rules import Native

__all__ = ["CODES", "deadlock", "tell"]

_ENDLESS = "SELECT COUNT(*) FROM seq_1_to_100000 a JOIN seq_1_to_100000 b"

_SETUP = (
    "CREATE TABLE parents (id INT PRIMARY KEY) ENGINE=InnoDB",
    (
        "CREATE TABLE children (id INT PRIMARY KEY, parent INT NOT NULL, FOREIGN KEY (parent) REFERENCES parents (id)) "
        "ENGINE=InnoDB"
    ),
    (
        "CREATE TABLE things (id INT PRIMARY KEY, name VARCHAR(5) NOT NULL, small TINYINT DEFAULT 0, day DATE, "
        "kind ENUM('a', 'b'), moment DATETIME, CHECK (small >= 0)) ENGINE=InnoDB"
    ),
    "CREATE TABLE memories (body CHAR(250)) ENGINE=MEMORY MAX_ROWS=10",
    "CREATE PROCEDURE lonely () SELECT 1",
    "INSERT INTO parents VALUES (1), (2)",
    "INSERT INTO children VALUES (1, 1)",
    "INSERT INTO things (id, name) VALUES (1, 'one'), (2, 'two')",
)

_STATEMENTS: dict[Native, tuple[str, ...]] = {
    1062: ("INSERT INTO things (id, name) VALUES (1, 'again')",),
    1048: ("INSERT INTO things (id, name) VALUES (9, NULL)",),
    1364: ("INSERT INTO things (id) VALUES (9)",),
    1451: ("DELETE FROM parents",),
    1452: ("INSERT INTO children VALUES (9, 9)",),
    4025: ("INSERT INTO things (id, name, small) VALUES (9, 'nine', -1)",),
    1264: ("INSERT INTO things (id, name, small) VALUES (9, 'nine', 1000)",),
    1265: ("INSERT INTO things (id, name, kind) VALUES (9, 'nine', 'c')",),
    1292: ("INSERT INTO things (id, name, day) VALUES (9, 'nine', '2020-13-45')",),
    1366: ("INSERT INTO things (id, name) VALUES ('x', 'nine')",),
    1367: ("SELECT 1e400",),
    1406: ("INSERT INTO things (id, name) VALUES (9, 'too long')",),
    1411: ("INSERT INTO things (id, name, day) VALUES (9, 'nine', STR_TO_DATE('nothing', '%%Y-%%m-%%d'))",),
    1441: ("INSERT INTO things (id, name, moment) VALUES (9, 'nine', DATE_ADD('9999-12-31', INTERVAL 1 DAY))",),
    1690: ("SELECT 9223372036854775807 + 1",),
    1054: ("SELECT nothing FROM things",),
    1064: ("INSERT INSERT",),
    1136: ("INSERT INTO things (id) VALUES (1, 2)",),
    1146: ("SELECT * FROM nowhere",),
    1305: ("CALL nothing()",),
    1318: ("CALL lonely(1)",),
    1118: ("CREATE TABLE broad (a VARCHAR(16000), b VARCHAR(16000)) CHARACTER SET utf8mb4",),
    1644: ("SIGNAL SQLSTATE '45000'",),
    1114: ("INSERT INTO memories SELECT REPEAT('x', 250) FROM seq_1_to_100000",),
    1969: (f"SET STATEMENT max_statement_time = 0.02 FOR {_ENDLESS}",),
    1792: ("SET TRANSACTION READ ONLY", "INSERT INTO parents VALUES (9)"),
}


def deadlock(bench: Bench) -> None:
    """Two writes that want each other's row."""
    both, errors = threading.Barrier(2), list[WriteError]()

    def cross(first: int, second: int) -> None:
        def work(connection: sa.Connection) -> None:
            if connection.dialect.name == "postgresql":
                saying(connection, "SET LOCAL deadlock_timeout = 20")
            saying(connection, f"UPDATE things SET small = 1 WHERE id = {first}")
            both.wait(20)
            saying(connection, f"UPDATE things SET small = 2 WHERE id = {second}")

        try:
            bench.do(work)
        except WriteError as error:
            errors.append(error)

    threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (error,) = errors
    raise error


def _changed_since_read(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        saying(connection, "SET SESSION innodb_snapshot_isolation = ON", "SELECT * FROM things")
        with bench.engine.begin() as other:
            saying(other, "UPDATE things SET small = small + 1 WHERE id = 1")
        try:
            saying(connection, "UPDATE things SET small = 5 WHERE id = 1")
        finally:
            connection.info["wellwired.test"] = True

    return bench.do(work)


def _locked(bench: Bench) -> None:
    with bench.engine.connect() as holder:
        saying(holder, "SELECT * FROM things WHERE id = 1 FOR UPDATE")
        bench.say("SELECT * FROM things WHERE id = 1 FOR UPDATE NOWAIT")


def _killed(words: str) -> Scene:
    """Another session ends the statement, or the connection, while the statement runs."""

    def scene(bench: Bench) -> WriteResult[Any]:
        def work(connection: sa.Connection) -> None:
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            state = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number} AND info LIKE '%%seq_1%%'"

            def kill() -> None:
                with bench.engine.connect() as other:
                    while not other.exec_driver_sql(state).scalar():
                        other.rollback()
                    saying(other, f"{words} {number}")

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                saying(connection, _ENDLESS)
            finally:
                killer.join(20)

        return bench.do(work)

    return scene


def _through(bench: Bench, fault: Fault) -> WriteResult[Any]:
    port = bench.engine.url.port
    assert port is not None
    with Proxy(port, trigger=b"parents", wire=MySQLWire) as proxy:
        engine = sa.create_engine(bench.engine.url.set(port=proxy.port))
        proxy.arm(fault)
        try:
            return bench.say("DELETE FROM parents WHERE id = 77", engine=engine)
        finally:
            engine.dispose()


def _gone(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver._sock.shutdown(socket.SHUT_WR)
        saying(connection, "SELECT 1")

    return bench.do(work)


def _elsewhere(**changes: Any) -> Scene:
    def scene(bench: Bench) -> WriteResult[Any]:
        given: dict[str, Any] = {name: change() if callable(change) else change for name, change in changes.items()}
        engine = sa.create_engine(bench.engine.url.set(**given))
        try:
            return bench.say("SELECT 1", engine=engine)
        finally:
            engine.dispose()

    return scene


_guests = (f"guest{number}" for number in itertools.count())


def _as_guest(grant: str, statement: str) -> Scene:
    """A user with few rights."""

    def scene(bench: Bench) -> WriteResult[Any]:
        url, name = sa.make_url(bench.apart().url), next(_guests)
        root, guest = sa.create_engine(url), sa.create_engine(url.set(username=name, password="right"))
        with root.begin() as connection:
            saying(
                connection,
                f"CREATE USER {name}@'%%' IDENTIFIED BY 'right'",
                "CREATE TABLE IF NOT EXISTS t (a INT, b INT)",
                f"GRANT {grant} TO {name}@'%%'",
            )
        try:
            return bench.say(statement, engine=guest)
        finally:
            guest.dispose()
            root.dispose()

    return scene


def _login(identified: str, password: str | None = None) -> Scene:
    """Somebody who may not come in."""

    def scene(bench: Bench) -> WriteResult[Any]:
        url, name = sa.make_url(bench.apart().url), next(_guests)
        root, guest = sa.create_engine(url), sa.create_engine(url.set(username=name, password=password))
        with root.begin() as connection:
            saying(connection, f"CREATE USER {name}@'%%' {identified}")
        try:
            return bench.say("SELECT 1", engine=guest)
        finally:
            guest.dispose()
            root.dispose()

    return scene


def _no_host(bench: Bench) -> WriteResult[Any]:
    """A server that lets nobody in, from anywhere."""
    engine = sa.create_engine(bench.private().url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        saying(connection, "DELETE FROM mysql.global_priv", "FLUSH PRIVILEGES")
    try:
        return bench.say("SELECT 1", engine=engine)
    finally:
        engine.dispose()


def _crowded(**settings: str) -> Scene:
    """More connections than a server of its own takes, from somebody without privileges."""

    def scene(bench: Bench) -> WriteResult[Any]:
        server = bench.private(**settings)
        root = sa.create_engine(server.url)
        limit = "" if settings else "WITH MAX_USER_CONNECTIONS 1"
        with root.begin() as connection:
            saying(connection, f"CREATE USER guest@'%%' {limit}", "GRANT ALL ON test.* TO guest@'%%'")
        guests = sa.create_engine(sa.make_url(server.url).set(username="guest"), pool_size=20)
        held: list[sa.Connection] = []
        try:
            try:
                while len(held) < 15:
                    held.append(guests.connect())
            except OperationalError:
                return bench.say("SELECT 1", engine=guests)
            raise AssertionError("it took them all")
        finally:
            for connection in held:
                connection.close()
            guests.dispose()
            root.dispose()

    return scene


def _too_large(bench: Bench) -> WriteResult[Any]:
    engine = sa.create_engine(bench.private(**{"max-allowed-packet": "16K"}).url)
    try:
        # Small enough to be sent before the server closes: else PyMySQL fails to send, and does not read the code.
        return bench.do(lambda connection: connection.exec_driver_sql("SELECT %s", ("x" * 30_000,)), engine)
    finally:
        engine.dispose()


def _shut_down(bench: Bench) -> WriteResult[Any]:
    server = bench.private()
    engine = sa.create_engine(server.url)
    threads: list[threading.Thread] = []

    def work(connection: sa.Connection) -> None:
        number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
        state = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number} AND info LIKE '%%seq_1%%'"

        def stop() -> None:
            with engine.connect() as other:
                while not other.exec_driver_sql(state).scalar():
                    other.rollback()
            server.stop()

        threads.append(threading.Thread(target=stop))
        threads[0].start()
        saying(connection, _ENDLESS)

    try:
        return bench.do(work, engine)
    finally:
        threads[0].join(40)
        engine.dispose()


_SCENES: dict[Native, Scene] = {
    1213: deadlock,
    1020: _changed_since_read,
    1205: _locked,
    1317: _killed("KILL QUERY"),
    2013: lambda bench: _through(bench, Fault.LOSE_ANSWER),
    2006: _gone,
    2003: _elsewhere(port=free_port),
    1049: _elsewhere(database="nowhere_at_all"),
    1040: _crowded(**{"max-connections": "10"}),
    1203: _crowded(**{"max-user-connections": "2"}),
    1226: _crowded(),
    1290: _as_guest("ALL ON test.*", "INSERT INTO t VALUES (1, 1)"),
    1142: _as_guest("INSERT ON test.t", "SELECT * FROM t"),
    1143: _as_guest("SELECT (a) ON test.t", "SELECT b FROM t"),
    1227: _as_guest("ALL ON test.*", "SET GLOBAL max_connections = 5"),
    1044: _login(""),
    1045: _login("IDENTIFIED BY 'right'", "wrong"),
    1130: _no_host,
    1698: _login("IDENTIFIED VIA unix_socket"),
    1153: _too_large,
}

_MASKED: dict[str, tuple[Scene, Native | None]] = {
    "1927, a killed session": (_killed("KILL"), 2013),
    "1053, a shutdown": (_shut_down, 2013),
}

_DRIVER = "a code of libmysqlclient's, which other drivers raise and PyMySQL does not"

_RECORDED: dict[Native, str] = {
    **dict.fromkeys((2002, 2005, 2012, 2014, 2027, 2045, 2055), _DRIVER),
}

_TOLD: frozenset[Native] = frozenset(
    {
        *(1053, 1927, 1614, 1689, 3058, 3101, 3572, 8002, 8005, 8022, 8028, 9007, 3024, 4031, 1158, 1159, 1160, 1161),
        *(1077, 1078, 1079, 1047, 1836, 1021, 1037, 1038, 1041, 1206, 1637, 8001, 8004),
        *(9001, 9002, 9003, 9004, 9005, 1180, 8501, 1022, 1169, 1586, 1215, 1216, 1217, 1557, 1761, 1762, 3819),
        *(3140, 3156, 3157, 1149, 1390),
    }
)

CODES = Codes(_SETUP, _STATEMENTS, _SCENES, _TOLD, _RECORDED, _MASKED)


def tell(code: int) -> str:
    """The statement by which MariaDB sends a code."""
    return f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}"
