"""A layer in a table of its own in SQLite, MySQL, MariaDB or PostgreSQL.

The table is created by `create_table()` or by the statements that `ddl()` gives, and never by itself. All time is the
server's: a row says when it ends by the server's clock, and every read computes there what is left of it.

Fences are kept in the rows. Every write renews a row's random generation; a delete leaves the row as a tombstone, and
so does a life that has ended, for ten minutes at least and until `purge()` is called. A token is the generation that a
read saw, or that it saw no row, together with the namespace's epoch, which `clear` renews. Because a tombstone does not
stay for ever, neither does a token: a fill that comes more than a minute after its read is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from wellwired.clock import SYSTEM, Clock
from wellwired.stores._life import milliseconds
from wellwired.stores._sql_rows import Found, Row, Rows, Token, batches, new_word
from wellwired.stores._sql_schema import ddl, store_table
from wellwired.stores.codecs import Codec, MsgpackCodec
from wellwired.stores.damage import DamageLog
from wellwired.stores.envelope import Envelopes, Unreadable
from wellwired.stores.keys import check_namespace, encode_key, encode_keys
from wellwired.stores.protocols import Entry

__all__ = ["SQLStore"]

_TOKEN_SECONDS: Final = 60.0


class SQLStore:
    """A `Store` in a table of its own, safe for threads; also `Many`, `Fenced`, `FencedMany` and `Ordered`.

    Errors pass through as SQLAlchemy raised them, except that a missing table is a `MissingTableError`. Waiting is
    bounded by the engine's own timeouts. Every operation is one or a few short transactions; one that the server undoes
    to end a deadlock is done again, five times at most.

    Args:
        engine: where; the store never disposes of it.
        namespace: which rows of the table are this store's; see `keys.check_namespace`.
        table: the name of the table; many namespaces can share one.
        schema: the table's schema, if not the connection's own.
        codec: how values become bytes.
        clock: by whose monotonic side the age of tokens and answers is measured.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        namespace: str,
        table: str = "wellwired_store",
        schema: str | None = None,
        codec: Codec | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.damage = DamageLog(check_namespace(namespace))
        """What could not be read; see `DamageLog`."""
        self.namespace = namespace
        self.table = store_table(table, schema)
        """The table, as SQLAlchemy describes it."""
        self._engine = engine
        self._rows = Rows(engine, self.table, namespace, clock.monotonic)
        self._prefix = namespace.encode() + b":"
        self._envelopes = Envelopes(MsgpackCodec() if codec is None else codec)
        self._now = clock.monotonic

    def __repr__(self) -> str:
        return f"SQLStore(table={self.table.fullname!r}, namespace={self.namespace!r})"

    # --- the table

    def create_table(self) -> None:
        """Creates the table and its index, if the table is not there yet."""
        self.table.metadata.create_all(self._engine)

    def ddl(self) -> str:
        """The SQL that creates the table and its index, for those who keep it with their migrations."""
        return ddl(self.table, self._engine.dialect)

    def purge(self, limit: int = 1000) -> int:
        """Removes rows, of every namespace, that ended or were deleted more than ten minutes ago.

        Args:
            limit: how many at most; call it again until it answers less than that.

        Returns:
            How many there were.
        """
        return self._rows.purge(limit)

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None; one SELECT."""
        found, sent = self._rows.one(encode_key(key))
        return self._opened(key, found, sent)

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; zero or less leaves nothing there.

        Raises:
            CodecError: the codec cannot encode the value.
            KeyFormatError: the key is none.
        """
        self._rows.put(self._row(key, Entry(value, ttl), new_word()))

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there."""
        return self.delete_many((key,)) > 0

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key that can be read; fetches it, to be certain."""
        return self.get(key) is not None

    def clear(self) -> None:
        """Removes every row of the namespace, 500 in a transaction."""
        # Before the sweep, lest a fill lands behind it, and after it, lest a token of its middle outlives it.
        self._rows.renew_epoch()
        for page in self._rows.pages(alive=False):
            self._rows.remove(page)
        self._rows.renew_epoch()

    def keys(self) -> Iterator[str]:
        """The keys that are there, read 500 at a time."""
        for page in self._rows.pages(alive=True):
            yield from [raw.decode() for raw in page]

    def close(self) -> None:
        """Does nothing: the engine is the caller's."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """The entries of those keys that are there; one SELECT for each 500."""
        found: dict[str, Entry[Any]] = {}
        for batch in batches(keys):
            raws = encode_keys(batch)
            rows, sent = self._rows.some(raws)
            for key, raw in zip(batch, raws, strict=True):
                if (entry := self._opened(key, rows.get(raw), sent)) is not None:
                    found[key] = entry
        return found

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left, in one transaction: all of them or none."""
        word = new_word()
        rows = [self._row(key, entry, word) for key, entry in items.items()]
        if rows:
            self._rows.put_all(rows)

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the keys, 500 in a transaction; how many were there."""
        raws = sorted(set(encode_keys(keys)))
        return sum([self._rows.bury(batch) for batch in batches(raws)])

    # --- Fenced, FencedMany, Ordered

    def read(self, key: str, /) -> tuple[Entry[Any] | None, Any]:
        """The entry or None, and the token of this moment; one SELECT."""
        return self.read_many((key,))[key]

    def fill(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
        """Stores the entry unless a write of the key has overtaken it, or a minute has passed; whether it did."""
        return bool(self._admit({key: (entry, token)}, written=False))

    def read_many(self, keys: Sequence[str], /) -> dict[str, tuple[Entry[Any] | None, Any]]:
        """For every key asked, its entry or None and its token; one SELECT for each 500."""
        answers: dict[str, tuple[Entry[Any] | None, Any]] = {}
        for batch in batches(keys):
            raws = encode_keys(batch)
            rows, epoch, sent = self._rows.some_with_epoch(raws)
            for key, raw in zip(batch, raws, strict=True):
                row = rows.get(raw)
                answers[key] = self._opened(key, row, sent), Token(epoch, None if row is None else row.word, sent)
        return answers

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], Any]], /) -> Collection[str]:
        """Stores the entries that no write has overtaken; their keys. One transaction for each 500."""
        return self._admit(items, written=False)

    def tokens(self, keys: Sequence[str], /) -> dict[str, Any]:
        """The tokens of this moment."""
        return {key: token for key, (_, token) in self.read_many(keys).items()}

    def put_many(self, items: Mapping[str, tuple[Entry[Any], Any]], /) -> Collection[str]:
        """Stores, as a write, the entries that no other write has overtaken; their keys."""
        return self._admit(items, written=True)

    # --- within

    def _opened(self, key: str, row: Found | None, sent: float) -> Entry[Any] | None:
        if row is None or row.data is None:
            return None
        # The server told what was left at some moment since; a millisecond may have been rounded away.
        left = None if row.left_ms is None else (row.left_ms - 1) / 1000 - (self._now() - sent)
        if left is not None and left <= 0:
            return None
        try:
            return Entry(self._envelopes.open(self._prefix + row.raw, row.data)[0], left)
        except Unreadable as error:
            self.damage.note(key, error.reason)
            return None

    def _row(self, key: str, entry: Entry[Any], word: bytes) -> Row:
        raw, life = encode_key(key), milliseconds(entry.left)
        return Row(raw, None if life == 0 else self._envelopes.seal(self._prefix + raw, entry.value), word, life)

    def _admit(self, items: Mapping[str, tuple[Entry[Any], Token]], *, written: bool) -> list[str]:
        now, word = self._now(), new_word()
        rows = {key: self._row(key, entry, word) for key, (entry, _) in items.items()}
        due = [key for key, (_, token) in items.items() if rows[key].life != 0 and now - token.taken <= _TOKEN_SECONDS]
        admitted: set[bytes] = set()
        for batch in batches(due):
            admitted |= self._rows.admit({rows[key].raw: (rows[key], items[key][1]) for key in batch}, written=written)
        return [key for key in due if rows[key].raw in admitted]
