"""Writers after a fork: the child writes on its own connections, and no lock of the parent's stops it."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from tests.containers.forking import in_child
from tests.writers.sql_kit import accounts, count, metadata, running, write
from wellwired.operations import WriteRequest
from wellwired.writers.sql import SQLWriter

# Forking with threads about is what these tests are for.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
def test_a_child_writes_while_the_parent_is_in_the_middle(sql_url: str) -> None:
    """Every place was taken and the watch had a thread; the child has free places and a watch of its own."""
    engine = sa.create_engine(sql_url, pool_size=1, max_overflow=0)
    metadata.create_all(engine)
    writer = SQLWriter("sql.main", engine)
    held, release = threading.Event(), threading.Event()

    def hold(_request: WriteRequest, connection: sa.Connection) -> None:
        connection.execute(accounts.insert(), {"id": 1, "balance": 0})
        held.set()
        release.wait(20)

    def child() -> list[object]:
        engine.dispose(close=False)
        nap = "SELECT pg_sleep(30)" if engine.dialect.name == "postgresql" else "SELECT SLEEP(30)"
        done = write(writer, payload={"id": 2, "balance": 0}, seconds=5).success
        try:
            write(writer, lambda _r, c: c.execute(sa.text(nap)), seconds=0.2)
        except TimeoutError:
            return [done, "timeout"]
        return [done, "no timeout"]

    with running(lambda: write(writer, hold, seconds=30)) as results:
        assert held.wait(10)
        told = in_child(child)
        release.set()

    assert told == [True, "timeout"]
    assert results[0].success
    assert count(engine) == 2
    engine.dispose()
