"""The table of the SQL store, and the statements that it uses, built once for an engine.

One row for each key of each namespace. `generation` is a random word that every write renews. A row without a value is
a tombstone: the key was deleted, and the row stays for a while to prove it. The row with an empty key is the state of
its namespace: its generation is the epoch, which every `clear` renews and every envelope bears, and its value is the
word that every invalidation of tags renews. Rows whose keys are no UTF-8 are the store's own as well: one for each tag,
whose generation is the tag's word, and one that says that a clear has left something behind. Keys are bytes, so that
no collation takes one for another, and the longest key fits in an index of every server.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateIndex, CreateTable

from wellwired.stores._sql_dialects import insert_absent, server_ms, upsert
from wellwired.stores.envelope import EPOCH_AT, STALE_AT, STALE_BYTES, WORD_BYTES
from wellwired.stores.keys import KEY_BYTES

__all__ = ["EPOCH_KEY", "LEFT_KEY", "OWN_KEYS", "TAG_KEY", "Statements", "ddl", "store_table"]

EPOCH_KEY: Final = b""
OWN_KEYS: Final = b"\xfe"
"""From here on the keys are the store's own: UTF-8 has no such byte."""
LEFT_KEY: Final = OWN_KEYS
TAG_KEY: Final = b"\xff"
"""What the key of a tag's row begins with."""

_KEYS: Final = ("namespace", "entry_key")
_OTHERS: Final = ("value", "generation", "expires_at")


def store_table(name: str, schema: str | None = None) -> sa.Table:
    """Describes the table; creates nothing.

    Args:
        name: its name.
        schema: its schema, if not the connection's own.

    Returns:
        The table, in a `MetaData` of its own.
    """
    exact = mysql.VARCHAR(64, charset="ascii", collation="ascii_bin")
    space = sa.String(64).with_variant(exact, "mysql", "mariadb")
    key = sa.LargeBinary().with_variant(mysql.VARBINARY(KEY_BYTES), "mysql", "mariadb")
    value = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    word = sa.LargeBinary().with_variant(mysql.VARBINARY(WORD_BYTES), "mysql", "mariadb")
    return sa.Table(
        name,
        sa.MetaData(schema=schema),
        sa.Column("namespace", space, primary_key=True),
        sa.Column("entry_key", key, primary_key=True),
        sa.Column("value", value),
        sa.Column("generation", word, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Index(f"ix_{name}_expires_at", "expires_at"),
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def ddl(table: sa.Table, dialect: sa.Dialect) -> str:
    """The statements that create the table and its index.

    Args:
        table: the table.
        dialect: for which database.

    Returns:
        SQL, each statement ended by a semicolon.
    """
    statements: list[Any] = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    return "\n".join(str(statement.compile(dialect=dialect)).strip() + ";" for statement in statements)


class Statements:
    """The SQL of one table in one dialect; immutable.

    Args:
        table: the table.
        dialect: the dialect's name.
    """

    def __init__(self, table: sa.Table, dialect: str) -> None:
        columns = table.c
        # No parameter is called as a column: SQLAlchemy keeps those names to itself.
        self._here = columns.namespace == sa.bindparam("space", type_=columns.namespace.type)
        keys = sa.bindparam("keys", expanding=True, type_=columns.entry_key.type)
        self._some = sa.and_(self._here, columns.entry_key.in_(keys))
        self._word = sa.bindparam("word", type_=columns.generation.type)
        kind = columns.value.type
        # The head of an envelope lies where `envelope` says; one of version 1 has no epoch.
        epoch = sa.func.substr(columns.value, EPOCH_AT + 1, WORD_BYTES, type_=kind) == sa.bindparam("epoch", type_=kind)
        first = sa.func.substr(columns.value, 4, 1, type_=kind) == sa.literal(b"\x01", kind)
        self._current = sa.or_(epoch, sa.and_(sa.bindparam("first", type_=sa.Integer) == 1, first))
        self._stale: Any = sa.func.substr(columns.value, STALE_AT + 1, STALE_BYTES, type_=kind)
        without = sa.or_(columns.value.is_(None), first, self._stale == sa.literal(bytes(STALE_BYTES), kind))
        self._without_stale: Any = without
        lasts = sa.or_(columns.expires_at.is_(None), columns.expires_at > server_ms())
        self._alive = sa.and_(columns.value.is_not(None), lasts, self._current)
        self._users = sa.and_(
            columns.entry_key > sa.literal(EPOCH_KEY, columns.entry_key.type),
            columns.entry_key < sa.literal(OWN_KEYS, columns.entry_key.type),
        )
        self.now = sa.select(server_ms())
        self._read(table)
        self._write(table, dialect)
        self._hold(table, dialect)
        self._purge(table)

    def _read(self, table: sa.Table) -> None:
        columns = table.c
        left = (columns.expires_at - server_ms()).label("left_ms")
        item = sa.bindparam("item", type_=columns.entry_key.type)
        after = sa.bindparam("after", type_=columns.entry_key.type)
        limit = sa.bindparam("limit", type_=sa.Integer)
        found = sa.select(columns.entry_key, columns.value, left, columns.generation)
        self.read: Any = found.where(self._some)
        # For one key without IN, whose list SQLAlchemy writes out anew each time.
        epoch = columns.entry_key == sa.literal(EPOCH_KEY, columns.entry_key.type)
        self.read_one: Any = found.where(self._here, sa.or_(epoch, columns.entry_key == item))
        words = sa.select(columns.entry_key, columns.generation).where(self._some)
        self.words: Any = words
        self.locked: Any = words.order_by(columns.entry_key).with_for_update()
        self.locked_whole: Any = found.where(self._here, columns.entry_key == item).with_for_update()
        self.written: Any = sa.select(columns.entry_key).where(self._some, columns.generation == self._word)
        page = sa.select(columns.entry_key).order_by(columns.entry_key).limit(limit)
        self.alive_keys: Any = page.where(self._here, self._users, columns.entry_key > after, self._alive)

    def _write(self, table: sa.Table, dialect: str) -> None:
        tombstone = {"value": None, "generation": self._word, "expires_at": server_ms()}
        self.bury: Any = sa.update(table).where(self._some, self._alive).values(tombstone)
        epoch = table.c.entry_key == sa.literal(EPOCH_KEY, table.c.entry_key.type)
        self.invalidate: Any = sa.update(table).where(self._here, epoch).values(value=sa.bindparam("data"))
        self.insert: Any = insert_absent(dialect, table, _KEYS)
        self.upsert_all: Any = upsert(dialect, table, _KEYS, _OTHERS)
        self.upsert: Any = self.upsert_all.values(
            namespace=sa.bindparam("space"),
            entry_key=sa.bindparam("item"),
            value=sa.bindparam("data"),
            generation=sa.bindparam("word"),
            expires_at=server_ms() + sa.bindparam("life", type_=sa.BigInteger),
        )

    def _hold(self, table: sa.Table, dialect: str) -> None:
        """Statements that keep the epoch as it is until the transaction ends; the last one tells it."""
        epoch = sa.and_(self._here, table.c.entry_key == sa.literal(EPOCH_KEY, table.c.entry_key.type))
        tell = sa.select(table.c.generation, table.c.value).where(epoch)
        self.state: Any = tell
        self.hold_epoch: tuple[Any, ...] = (tell.with_for_update(read=True),)
        if dialect == "sqlite":
            # It locks no rows; writing anything keeps all other writers out.
            self.hold_epoch = (sa.update(table).where(epoch).values(generation=table.c.generation), tell)

    def _purge(self, table: sa.Table) -> None:
        columns = table.c
        past = sa.and_(columns.expires_at < server_ms() - sa.bindparam("grace", type_=sa.BigInteger), self._users)
        limit = sa.bindparam("limit", type_=sa.Integer)
        pair = sa.tuple_(columns.namespace, columns.entry_key)
        select = sa.select(columns.namespace, columns.entry_key).order_by(columns.expires_at).limit(limit)
        self.dead: Any = select.where(past, self._without_stale)
        self.remove_dead: Any = sa.delete(table).where(pair.in_(sa.bindparam("rows", expanding=True)), past)
        # Values that may still be served as stale; only their envelopes say until when.
        place = (columns.expires_at, columns.namespace, columns.entry_key)
        after = [sa.bindparam(f"after_{column.name}", type_=column.type) for column in place]
        facts = (self._stale, columns.generation, server_ms() - columns.expires_at)
        stale = sa.select(*place, *facts).where(past, sa.not_(self._without_stale))
        self.spared: Any = stale.where(sa.tuple_(*place) > sa.tuple_(*after)).order_by(*place).limit(limit)
        trio = sa.tuple_(columns.namespace, columns.entry_key, columns.generation)
        self.remove_spent: Any = sa.delete(table).where(trio.in_(sa.bindparam("rows", expanding=True)), past)
        # What clears have left behind: rows of another epoch, in namespaces that say so.
        mark = columns.entry_key == sa.literal(LEFT_KEY, columns.entry_key.type)
        marked = sa.select(columns.namespace, columns.generation)
        self.marked: Any = marked.where(mark, columns.expires_at <= server_ms())
        self.remove_mark: Any = sa.delete(table).where(self._here, mark, columns.generation == self._word)
        left = sa.and_(self._here, self._users, columns.value.is_not(None), sa.not_(self._current))
        self.left: Any = sa.select(columns.entry_key).where(left).limit(limit)
        self.remove_left: Any = sa.delete(table).where(self._some, left)
