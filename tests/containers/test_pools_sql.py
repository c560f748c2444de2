"""Tests of engines: options, timeouts, transactions on SQLite, and what is said when a driver is missing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from wellwired.clock import Deadline
from wellwired.containers import pools
from wellwired.errors import MissingExtraError
from wellwired.handlers import FunctionHandler
from wellwired.operations import WriteRequest
from wellwired.settings import SQLSettings
from wellwired.writers.sql import SQLWriter

Open = Callable[..., sa.Engine]


@pytest.fixture
def open_engine() -> Iterator[Open]:
    """Opens engines, and closes them after the test."""
    opened: list[sa.Engine] = []

    def open_one(url: str, **options: Any) -> sa.Engine:
        opened.append(pools.open_engine("sql.main", SQLSettings.model_validate({"url": url, **options})))
        return opened[-1]

    yield open_one
    for engine in opened:
        pools.close_engine(engine)


def test_an_engine_answers(open_engine: Open, sql_url: str) -> None:
    """On every kind of database; opened, pinged, used, closed, and usable again."""
    engine = open_engine(sql_url)
    pools.ping_engine(engine)
    pools.close_engine(engine)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("mysql://h/d", "mysql+pymysql"),
        ("mariadb://h/d", "mariadb+pymysql"),
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("sqlite://", "sqlite+pysqlite"),
    ],
)
def test_nothing_connects_when_an_engine_is_opened(url: str, scheme: str, open_engine: Open) -> None:
    """A host that does not exist is no obstacle yet; plain schemes take the library's drivers."""
    assert open_engine(url).url.drivername == scheme


def test_pool_options_are_the_settings(open_engine: Open) -> None:
    """Sizes and times arrive at the pool."""
    engine = open_engine("mysql://h/d", pool_size=3, max_overflow=4, pool_timeout=0.5, pool_recycle=7, pre_ping=False)
    pool: Any = engine.pool
    assert isinstance(pool, QueuePool) and pool.size() == 3 and pool.timeout() == 0.5
    assert (pool._max_overflow, pool._recycle, pool._pre_ping) == (4, 7, False)
    assert open_engine("mysql://h/d", pool_recycle=None).pool._recycle == -1
    assert engine.hide_parameters


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_an_exhausted_pool_says_so_in_time(open_engine: Open, sql_url: str) -> None:
    """Beyond size and overflow a caller waits for pool_timeout and gets an error."""
    engine = open_engine(sql_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect(), pytest.raises(PoolTimeoutError):
        pools.ping_engine(engine)


def _arguments(engine: sa.Engine) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def stop(dialect: Any, record: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.update(kwargs)
        raise OSError("that is all")

    event.listen(engine, "do_connect", stop)
    with pytest.raises(OSError, match="that is all"):
        engine.connect()
    return seen


def test_timeouts_reach_pymysql(open_engine: Open) -> None:
    """No wait on a socket is without an end."""
    arguments = _arguments(open_engine("mysql://h/d", connect_timeout=1.5, socket_timeout=7))
    assert (arguments["connect_timeout"], arguments["read_timeout"], arguments["write_timeout"]) == (1.5, 7, 7)


def test_timeouts_reach_psycopg(open_engine: Open) -> None:
    """A dead network is noticed, and the server can tell whose connection it is."""
    arguments = _arguments(open_engine("postgresql://h/d", connect_timeout=1.5, socket_timeout=30))
    assert (arguments["connect_timeout"], arguments["tcp_user_timeout"]) == (2, 30_000)
    assert (arguments["keepalives_idle"], arguments["keepalives_interval"], arguments["keepalives_count"]) == (15, 5, 3)
    assert arguments["fallback_application_name"] == "sql.main"


@pytest.mark.parametrize("sql_url", ["mariadb"], indirect=True)
def test_a_silent_mariadb_is_given_up(open_engine: Open, sql_url: str) -> None:
    """socket_timeout ends the wait for an answer."""
    engine = open_engine(sql_url, socket_timeout=0.2)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        with pytest.raises(OperationalError, match="2013"):
            connection.execute(sa.text("SELECT SLEEP(5)"))


@pytest.mark.parametrize(
    ("sql_url", "questions", "answers"),
    [
        ("postgresql", ("SHOW statement_timeout", "SHOW lock_timeout"), ("7s", "2500ms")),
        ("mariadb", ("SELECT @@max_statement_time", "SELECT @@innodb_lock_wait_timeout"), (7, 3)),
    ],
    indirect=["sql_url"],
)  # fmt: skip
def test_the_servers_own_timers(open_engine: Open, sql_url: str, questions: Any, answers: Any) -> None:
    """They are set on every connection, and outlive its transactions."""
    engine = open_engine(sql_url, statement_timeout=7, lock_timeout=2.5)
    for _ in range(2):
        with engine.connect() as connection:
            assert tuple(connection.scalar(sa.text(question)) for question in questions) == answers
            connection.rollback()
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]


def test_mysql_proper_has_another_name_for_it() -> None:
    """MySQL limits SELECT alone, in milliseconds, under its own name."""
    from wellwired.containers._engines import _mysql_timers

    assert _mysql_timers(False, 1.5, None) == ["SET SESSION max_execution_time = 1500"]


@pytest.mark.parametrize(
    ("sql_url", "question"),
    [("postgresql", "SHOW transaction_isolation"), ("mariadb", "SELECT LOWER(REPLACE(@@tx_isolation, '-', ' '))")],
    indirect=["sql_url"],
)
def test_the_isolation_level(open_engine: Open, sql_url: str, question: str) -> None:
    """It holds for every transaction."""
    with open_engine(sql_url, isolation_level="serializable").connect() as connection:
        assert connection.scalar(sa.text(question)) == "serializable"


def test_parameters_are_in_no_error(open_engine: Open, sqlite_url: str) -> None:
    """What was to be written is left out of the driver's error."""
    engine = open_engine(sqlite_url)
    with engine.connect() as connection, pytest.raises(OperationalError) as caught:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:x)"), {"x": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.fixture(params=["file", "memory"])
def sqlite(request: pytest.FixtureRequest, open_engine: Open, sqlite_url: str) -> sa.Engine:
    """An engine on SQLite with a table of numbers, in a file and in memory."""
    engine = open_engine(sqlite_url if request.param == "file" else "sqlite://")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
    return engine


def _numbers(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT n FROM numbers ORDER BY n")))


def test_savepoints_work_on_sqlite(sqlite: sa.Engine) -> None:
    """What a savepoint did is undone alone, and the whole undoes what a savepoint kept."""
    insert = sa.text("INSERT INTO numbers VALUES (:n)")
    with sqlite.begin() as connection:
        connection.execute(insert, {"n": 1})
        with connection.begin_nested() as nested:
            connection.execute(insert, {"n": 2})
            nested.rollback()
        with connection.begin_nested():
            connection.execute(insert, {"n": 3})
    assert _numbers(sqlite) == [1, 3]
    with sqlite.connect() as connection:
        with connection.begin_nested():
            connection.execute(insert, {"n": 4})
        connection.rollback()
    assert _numbers(sqlite) == [1, 3]


def test_ddl_is_part_of_the_transaction_on_sqlite(sqlite: sa.Engine) -> None:
    """A table that was created is gone when the transaction is rolled back."""
    with sqlite.connect() as connection:
        connection.execute(sa.text("CREATE TABLE more (n INTEGER)"))
        connection.rollback()
    assert not sa.inspect(sqlite).has_table("more")


def test_foreign_keys_are_enforced_on_sqlite(sqlite: sa.Engine) -> None:
    """Which SQLite does only when it is asked to."""
    with sqlite.begin() as connection:
        connection.execute(sa.text("CREATE TABLE child (n INTEGER REFERENCES numbers (n))"))
    with sqlite.connect() as connection, pytest.raises(IntegrityError, match="FOREIGN KEY"):
        connection.execute(sa.text("INSERT INTO child VALUES (99)"))


def test_all_threads_see_one_database(sqlite: sa.Engine) -> None:
    """In memory too; many threads at once lose no write, and none reads another's unfinished one."""
    barrier = threading.Barrier(8)

    def add(n: int) -> None:
        barrier.wait()
        with pools.immediate(sqlite).connect() as connection:
            count = connection.scalar(sa.text("SELECT count(*) FROM numbers"))
            connection.execute(sa.text("INSERT INTO numbers VALUES (:n)"), {"n": count})
            connection.commit()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(8)))
    assert _numbers(sqlite) == list(range(8))


def test_a_transaction_may_take_the_write_lock_at_once(open_engine: Open, sqlite_url: str) -> None:
    """A second writer is refused at its BEGIN, after the time for waiting; a reader is not."""
    engine = open_engine(sqlite_url, lock_timeout=0.05)
    writing = pools.immediate(engine)
    with writing.connect() as first, engine.connect() as reader, writing.connect() as second:
        first.execute(sa.text("SELECT 1"))
        reader.execute(sa.text("SELECT 1"))
        with pytest.raises(OperationalError, match="database is locked"):
            second.execute(sa.text("SELECT 1"))
    assert writing.pool is engine.pool


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_other_databases_have_no_lock_to_take(open_engine: Open, sql_url: str) -> None:
    """The view works everywhere."""
    pools.ping_engine(pools.immediate(open_engine(sql_url)))


def test_who_begins_by_other_means_is_left_alone(open_engine: Open, sqlite_url: str) -> None:
    """An application's own listener to "begin" may begin as it likes."""
    engine = open_engine(sqlite_url)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN EXCLUSIVE"))
    pools.ping_engine(engine)


def test_the_driver_does_not_begin_by_itself(open_engine: Open, sqlite_url: str) -> None:
    """Without SQLAlchemy's BEGIN a statement stands alone: the driver has no say in it."""
    connection = open_engine(sqlite_url).raw_connection()
    driver: Any = connection.driver_connection
    for text in ("CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1)"):
        driver.execute(text)
        assert not driver.in_transaction
    connection.close()


def test_readers_and_a_writer_do_not_wait_for_each_other(open_engine: Open, sqlite_url: str) -> None:
    """A file is in write-ahead mode, also for those who open it at the same time."""
    barrier = threading.Barrier(6)

    def open_at_once(_: int) -> str:
        engine = open_engine(sqlite_url, lock_timeout=5)
        barrier.wait()
        with engine.connect() as connection:
            return str(connection.scalar(sa.text("PRAGMA journal_mode")))

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(open_at_once, range(6))) == {"wal"}
    engine = open_engine(sqlite_url, lock_timeout=0.05)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER)"))
    with engine.connect() as reader, engine.connect() as writer:
        assert reader.execute(sa.text("SELECT * FROM t")).all() == []
        writer.execute(sa.text("INSERT INTO t VALUES (1)"))
        writer.commit()
        assert reader.execute(sa.text("SELECT * FROM t")).all() == []


def test_a_database_that_may_only_be_read(open_engine: Open, sqlite_url: str) -> None:
    """A file that is opened for reading is read."""
    pools.ping_engine(open_engine(sqlite_url))
    path = sqlite_url.removeprefix("sqlite:///")
    pools.ping_engine(open_engine(f"sqlite:///file:{path}?mode=ro&uri=true"))


@pytest.mark.parametrize(
    ("module", "url", "extra"), [("pymysql", "mysql://h/d", "mysql"), ("psycopg", "postgresql://h/d", "postgresql")]
)
def test_a_missing_driver_names_its_extra(module: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what needs it and what to install."""
    settings = SQLSettings.model_validate({"url": url})
    monkeypatch.setattr(pools, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(MissingExtraError, match=rf"sql\.main needs .*wellwired\[{extra}\]") as caught:
        pools.open_engine("sql.main", settings)
    assert caught.value.extra == extra


def test_the_module_imports_no_library_by_itself() -> None:
    """Neither SQLAlchemy nor redis-py, nor any driver, until something is opened."""
    script = (
        "import sys; import wellwired.containers.pools;"
        "print(sorted({'sqlalchemy', 'redis', 'fakeredis', 'pymysql', 'psycopg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_write_begins_once(open_engine: Open, sqlite_url: str) -> None:
    """A writer's BEGIN IMMEDIATE is the only one that is sent; others' transactions still begin with a BEGIN."""
    engine, sent = open_engine(sqlite_url), list[str]()
    event.listen(engine, "checkout", lambda driver, *_: driver.set_trace_callback(sent.append))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER)"))

    def insert(_: WriteRequest, connection: sa.Connection) -> None:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))

    add = FunctionHandler(insert, type="add")
    request = WriteRequest("sql.main", "add", {})
    SQLWriter("sql.main", engine).write(request, handler=add, deadline=Deadline.after(60))
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM t")) == 1
    begun = [statement for statement in sent if statement.startswith(("BEGIN", "ROLLBACK"))]
    assert begun == ["BEGIN", "BEGIN IMMEDIATE", "BEGIN"]
