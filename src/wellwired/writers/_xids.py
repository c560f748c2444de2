"""The number that PostgreSQL gives a transaction, by which its end can be asked for afterwards.

Reading it costs no round trip if it is read with BEGIN, in one packet: about a tenth more for a write on loopback with
nothing synced, against half as much again for a SELECT before COMMIT, and two and a half times for psycopg's pipeline
(measured, psycopg 3.3, PostgreSQL 15). It makes the server number a transaction even if that writes nothing, so it is
done only for writers that were told to resolve open outcomes.

A number is worth something only at the server that gave it: after a failover the new primary gives the numbers that
were lost to other transactions. So the moment at which the server was started is kept with it and compared.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, text

__all__ = ["Xid", "begin_numbered", "can_number", "ended"]

_ASK = "SELECT pg_current_xact_id()::text, pg_postmaster_start_time()::text"
_ENDED = text(
    "SELECT CASE WHEN pg_is_in_recovery() OR pg_postmaster_start_time()::text <> :started THEN 'elsewhere' "
    "ELSE pg_xact_status(CAST(:number AS xid8)) END"
)
_FIRST = 130_000
"""The version that has these functions."""


class Xid(NamedTuple):
    """A transaction of PostgreSQL's.

    Args:
        number: its number.
        started: when the server was started, as the server writes it.
    """

    number: str
    started: str


def can_number(engine: Engine) -> bool:
    """Whether transactions of this engine can be numbered: PostgreSQL by psycopg."""
    return engine.dialect.name == "postgresql" and engine.dialect.driver == "psycopg"


def begin_numbered(driver: Any) -> Xid | None:
    """Begins a transaction as psycopg would, and reads its number in the same round trip.

    Args:
        driver: psycopg's connection, with no transaction open.

    Returns:
        The number, or None if the server has none to give or a transaction is open already.

    Raises:
        psycopg.Error: the server refused, or the connection was lost.
    """
    from psycopg import errors, generators, pq

    native = driver.pgconn
    if native.transaction_status != pq.TransactionStatus.IDLE or native.server_version < _FIRST:
        return None
    native.send_query(f"{_begin(driver)}; {_ASK}".encode())
    results = driver.wait(generators.execute(native))
    last = results[-1]
    if last.status != pq.ExecStatus.TUPLES_OK:
        raise errors.error_from_result(last)
    return Xid(last.get_value(0, 0).decode(), last.get_value(0, 1).decode())


def _begin(driver: Any) -> str:
    words = ["BEGIN"]
    if driver.isolation_level is not None:
        words.append(f"ISOLATION LEVEL {driver.isolation_level.name.replace('_', ' ')}")
    if driver.read_only is not None:
        words.append("READ ONLY" if driver.read_only else "READ WRITE")
    if driver.deferrable is not None:
        words.append("DEFERRABLE" if driver.deferrable else "NOT DEFERRABLE")
    return " ".join(words)


def ended(connection: Connection, xid: Xid) -> str | None:
    """How a transaction ended.

    Args:
        connection: to the server that it was at, or what is there now.
        xid: the transaction.

    Returns:
        "committed", "aborted", "in progress", "elsewhere" if this is not that server any more, or None if it is too
        long ago.
    """
    status = connection.scalar(_ENDED, {"number": xid.number, "started": xid.started})
    return status if status is None else str(status)
