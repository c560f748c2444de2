"""A layer in a table of its own in SQLite, MySQL, MariaDB or PostgreSQL.

The table is created by `create_table()` or by the statements that `ddl()` gives, and never by itself. All time is the
server's: a row says when it ends by the server's clock, and every read computes there what is left of it.

Fences are kept in the rows. Every write renews a row's random generation; a delete leaves the row as a tombstone, and
so does a life that has ended, for ten minutes at least and until `purge()` is called. A token is the generation that a
read saw, or that it saw no row, together with the namespace's epoch, which `clear` renews. Because a tombstone does not
stay for ever, neither does a token: a fill that comes more than a minute after its read is refused. A clear changes one
row: every value bears the epoch of its namespace, and one of another epoch is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import KeyFormatError, StoreError
from wellwired.stores._life import milliseconds
from wellwired.stores._sql_rows import Found, Row, Rows, Sight, State, Token, batches, new_word
from wellwired.stores._sql_schema import ddl, store_table
from wellwired.stores.codecs import Codec, MsgpackCodec
from wellwired.stores.damage import DamageLog
from wellwired.stores.envelope import Envelopes, Packing, Signing, Unreadable
from wellwired.stores.keys import check_namespace, encode_key, encode_keys
from wellwired.stores.protocols import Entry

__all__ = ["SQLStore"]

_TOKEN_SECONDS: Final = 60.0
_ATTEMPTS: Final = 5
_TAG_BYTES: Final = 1000


class SQLStore:
    """A `Store` in a table of its own, safe for threads.

    It is also `Many`, `Fenced`, `FencedMany`, `Ordered`, `Atomic`, `KeepsStale` and `Tagged`.

    Errors pass through as SQLAlchemy raised them, except that a missing table is a `MissingTableError`. Waiting is
    bounded by the engine's own timeouts. Every operation is one or a few short transactions; one that the server undoes
    to end a deadlock is done again, five times at most.

    Args:
        engine: where; the store never disposes of it.
        namespace: which rows of the table are this store's; see `keys.check_namespace`.
        table: the name of the table; many namespaces can share one.
        schema: the table's schema, if not the connection's own.
        codec: how values become bytes.
        compression: what compresses large values, such as `compression.Zstd()`; None for nothing.
        signer: signs every value, and refuses those that are not; see `signing.Signer`.
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
        compression: Packing | None = None,
        signer: Signing | None = None,
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
        self._envelopes = Envelopes(MsgpackCodec() if codec is None else codec, compression=compression, signer=signer)
        # The epoch that was seen last: enough to seal a value with, for the write looks again.
        self._epoch: bytes | None = None
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
        """Removes rows, of every namespace, that ended or were deleted more than ten minutes ago, or were cleared.

        A value that may be served as stale ends with its stale life; every call looks at those that are kept so.

        Args:
            limit: how many at most; call it again until it answers less than that.

        Returns:
            How many there were.
        """
        return self._rows.purge(limit)

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None; one SELECT."""
        return self.read_many((key,))[key][0]

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; zero or less leaves nothing there.

        Raises:
            CodecError: the codec cannot encode the value.
            KeyFormatError: the key is none.
        """
        self._write({key: Entry(value, ttl)})

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there."""
        return self.delete_many((key,)) > 0

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key that can be read; fetches it, to be certain."""
        return self.get(key) is not None

    def clear(self) -> None:
        """Removes every key of the namespace, by changing two rows; `purge` removes what they leave behind."""
        self._epoch = None
        self._rows.renew_epoch()

    def keys(self) -> Iterator[str]:
        """The keys that are there, read 500 at a time."""
        for page in self._rows.pages():
            keys = [raw.decode() for raw in page]
            # Only its value tells whether a key has lost it by a tag; most namespaces have never seen that.
            yield from self.get_many(keys) if self._rows.state().invalidated is not None else keys

    def close(self) -> None:
        """Does nothing: the engine is the caller's."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """The entries of those keys that are there; one SELECT for each 500."""
        return {key: entry for key, (entry, _) in self.read_many(keys).items() if entry is not None}

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left, in one transaction: all of them or none."""
        self._write(items)

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
            rows, state, sent = self._rows.some(raws)
            self._epoch = state.epoch
            for key, raw in zip(batch, raws, strict=True):
                row = rows.get(raw)
                answers[key] = (
                    self._opened(key, row, state, sent),
                    Token(state, None if row is None else row.word, sent),
                )
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

    # --- Atomic

    def witness(self, key: str, /) -> tuple[Entry[Any] | None, Sight]:
        """The entry or None, and the token for an exchange of it; one SELECT, and one more for a value with tags."""
        raw = encode_key(key)
        rows, state, sent = self._rows.some([raw])
        self._epoch = state.epoch
        row = rows.get(raw)
        entry = self._opened(key, row, state, sent)
        token, data = Token(state, row and row.word, sent), row and row.data
        return entry, Sight(token, data, entry is not None, bool(entry and entry.tags))

    def swap(self, key: str, entry: Entry[Any], token: Sight, /) -> bool:
        """Stores the entry if what was looked at is still there, or still nothing; whether it did. One transaction."""
        words, epoch = self._words([entry]), token.token.state.epoch
        return self._rows.swap(self._row(key, entry, new_word(), epoch, words), token)

    # --- KeepsStale, Tagged

    def read_stale(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """What is kept under the keys, stale or fresh; one SELECT for each 500."""
        kept: dict[str, Entry[Any]] = {}
        for batch in batches(keys):
            raws = encode_keys(batch)
            rows, state, sent = self._rows.some(raws)
            for key, raw in zip(batch, raws, strict=True):
                if (entry := self._opened(key, rows.get(raw), state, sent, stale_too=True)) is not None:
                    kept[key] = entry
        return kept

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        """Removes every value that bears one of the tags, in one transaction that changes a row for each of them."""
        self._rows.invalidate(_checked(tags))

    # --- within

    def _opened(
        self, key: str, row: Found | None, state: State, sent: float, *, stale_too: bool = False
    ) -> Entry[Any] | None:
        if row is None or row.data is None:
            return None
        # The server told what was left at some moment since; a millisecond may have been rounded away.
        left = None if row.left_ms is None else (row.left_ms - 1) / 1000 - (self._now() - sent)
        if left is not None and left <= 0 and not stale_too:
            return None
        try:
            opened = self._envelopes.open(self._prefix + row.raw, row.data)
        except Unreadable as error:
            self.damage.note(key, error.reason)
            return None
        if not state.admits(opened.epoch):
            return None
        tags = dict(opened.tags)
        if tags and self._rows.words(tags) != tags:
            return None
        if left is None or left > 0:
            return Entry(opened.value, left, opened.stale / 1000, tuple(tags))
        stale = left + opened.stale / 1000
        return Entry(opened.value, 0.0, stale, tuple(tags)) if stale > 0 else None

    def _row(self, key: str, entry: Entry[Any], word: bytes, epoch: bytes, words: Mapping[str, bytes]) -> Row:
        raw, life = encode_key(key), milliseconds(entry.left)
        if life == 0:
            return Row(raw, None, word, life)
        stale = 0 if life is None else milliseconds(entry.stale) or 0
        tags = [(tag, words[tag]) for tag in entry.tags]
        data = self._envelopes.seal(self._prefix + raw, entry.value, stale=stale, epoch=epoch, tags=tags)
        return Row(raw, data, word, life, bool(tags))

    def _write(self, items: Mapping[str, Entry[Any]]) -> None:
        """Writes all items, in one transaction, in the epoch that holds when it ends."""
        word, words = new_word(), self._words(items.values())
        for _ in range(_ATTEMPTS if items else 0):
            epoch = self._epoch or self._rows.state().epoch
            rows = [self._row(key, entry, word, epoch, words) for key, entry in items.items()]
            if self._rows.put(rows[0], epoch) if len(rows) == 1 else self._rows.put_all(rows, epoch):
                return
            self._epoch = None
        if items:
            raise StoreError(f"{self!r} is being cleared again and again; nothing was stored")

    def _words(self, entries: Iterable[Entry[Any]]) -> dict[str, bytes]:
        tags = {tag for entry in entries for tag in entry.tags}
        return self._rows.made_words(_checked(tags)) if tags else {}

    def _admit(self, items: Mapping[str, tuple[Entry[Any], Token]], *, written: bool) -> list[str]:
        now, word = self._now(), new_word()
        words = self._words(entry for entry, _ in items.values())
        rows = {key: self._row(key, entry, word, token.state.epoch, words) for key, (entry, token) in items.items()}
        due = [key for key, (_, token) in items.items() if rows[key].life != 0 and now - token.taken <= _TOKEN_SECONDS]
        admitted: set[bytes] = set()
        for batch in batches(due):
            admitted |= self._rows.admit({rows[key].raw: (rows[key], items[key][1]) for key in batch}, written=written)
        return [key for key in due if rows[key].raw in admitted]


def _checked(tags: Iterable[str]) -> list[str]:
    """The tags, each once, if all of them are some."""
    for tag in (checked := sorted(set(tags))):
        if len(encode_key(tag)) > _TAG_BYTES:
            raise KeyFormatError(f"a tag is longer than {_TAG_BYTES} bytes")
    return checked
