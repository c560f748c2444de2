"""The rows of one namespace in the table of the SQL store: what is done to them, in which transactions.

Nothing here knows what a value means. A row's `word` is its generation, its `life` the milliseconds it is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wellwired.errors import MissingTableError
from wellwired.stores._sql_dialects import check_dialect, lacks_table, was_undone
from wellwired.stores._sql_schema import EPOCH_KEY, LEFT_KEY, OWN_KEYS, TAG_KEY, Statements
from wellwired.stores.envelope import NO_WORD, WORD_BYTES

__all__ = ["BATCH", "Found", "Row", "Rows", "Sight", "State", "Token", "batches", "new_word"]

BATCH: Final = 500
"""How many rows one statement or transaction concerns at most."""

_CLEARED: Final = b"clr!"  # what an epoch begins with that a clear has made
_GRACE_MS: Final = 600_000
_ATTEMPTS: Final = 6

T = TypeVar("T")


class Found(NamedTuple):
    """A row as it was read; `left_ms` by the server's clock at that moment."""

    raw: bytes
    data: bytes | None
    left_ms: int | None
    word: bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be written; without data it is a tombstone."""

    raw: bytes
    data: bytes | None
    word: bytes
    life: int | None
    tagged: bool = False

    def facts(self, namespace: str, now: int) -> dict[str, Any]:
        """Its columns; `now` is the server's time in milliseconds."""
        return {
            "namespace": namespace,
            "entry_key": self.raw,
            "value": self.data,
            "generation": self.word,
            "expires_at": None if self.life is None else now + self.life,
        }


class State(NamedTuple):
    """What holds for a whole namespace: its epoch, and the word of the last invalidation of tags."""

    epoch: bytes
    invalidated: bytes | None

    def admits(self, epoch: bytes) -> bool:
        """Whether a value of that epoch is there; one of version 1 is, until the first clear."""
        return epoch == self.epoch or (epoch == NO_WORD and not self.epoch.startswith(_CLEARED))

    def facts(self) -> dict[str, Any]:
        """The same for the statements."""
        return {"epoch": self.epoch, "first": int(self.admits(NO_WORD))}


@dataclass(frozen=True, slots=True)
class Token:
    """What a read saw: the namespace's state, the row's generation (None: no row), and when."""

    state: State
    word: bytes | None
    taken: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look saw under one key: its token and bytes, whether they could be read, and whether they had tags."""

    token: Token
    data: bytes | None
    there: bool
    tagged: bool


class _Cleared(Exception):  # noqa: N818 - it never leaves this module
    """The namespace was cleared since the rows were sealed: their transaction is to be undone."""


def new_word() -> bytes:
    """A generation that there has never been; from the system, for forked children share the state of `random`."""
    return os.urandom(WORD_BYTES)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, at most `BATCH` at a time."""
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))


def _up_to_date(state: State | None, row: Row, token: Token) -> bool:
    """Whether nothing has happened to the whole namespace that the row's token does not know."""
    if state is None or state.epoch != token.state.epoch:
        return False
    return not row.tagged or state.invalidated == token.state.invalidated


class Rows:
    """Access to the rows of one namespace; safe for threads.

    Args:
        engine: where.
        table: the store's table.
        namespace: whose rows.
        now: the monotonic clock, in seconds.
    """

    def __init__(self, engine: sa.Engine, table: sa.Table, namespace: str, now: Callable[[], float]) -> None:
        self._engine, self._table, self._namespace, self._now = engine, table, namespace, now
        dialect = check_dialect(engine)
        self._sql = Statements(table, dialect)
        # One SELECT needs no transaction: with psycopg that saves BEGIN and ROLLBACK, elsewhere it would cost more.
        self._readers = engine.execution_options(isolation_level="AUTOCOMMIT") if dialect == "postgresql" else engine

    # --- reading

    def some(self, raws: Sequence[bytes]) -> tuple[dict[bytes, Found], State, float]:
        """The rows of the keys, the state of the same moment, and when they were asked for."""
        while True:
            if len(raws) == 1:
                rows, sent = self._found(self._sql.read_one, self._facts(item=raws[0]))
            else:
                rows, sent = self._found(self._sql.read, self._facts(keys=[EPOCH_KEY, *raws]))
            epoch = rows.pop(EPOCH_KEY, None)
            if epoch is not None and epoch.word is not None:
                return rows, State(epoch.word, epoch.data), sent
            # Nobody has used the namespace before.
            self._written(lambda connection: connection.execute(self._sql.insert, self._own(EPOCH_KEY, new_word())))

    def state(self) -> State:
        """The state of the namespace."""
        return self.some([OWN_KEYS])[1]

    def words(self, tags: Iterable[str]) -> dict[str, bytes | None]:
        """The words of the tags, None for those that have none."""
        raws = {tag: TAG_KEY + tag.encode() for tag in tags}
        found: dict[bytes, bytes] = {}
        for batch in batches(list(raws.values())):
            with self._reading() as connection:
                rows: Any = connection.execute(self._sql.words, self._facts(keys=batch)).all()
            found |= dict(rows)
        return {tag: found.get(raw) for tag, raw in raws.items()}

    def made_words(self, tags: Iterable[str]) -> dict[str, bytes]:
        """The words of the tags, made where there are none."""
        while True:
            words = self.words(tags)
            missing = sorted(TAG_KEY + tag.encode() for tag, word in words.items() if word is None)
            if not missing:
                return {tag: word for tag, word in words.items() if word is not None}
            made = [self._own(raw, new_word()) for raw in missing]
            self._written(lambda connection, made=made: connection.execute(self._sql.insert, made))  # type: ignore[misc]

    def pages(self) -> Iterator[list[bytes]]:
        """The keys of the namespace under which something is, in order."""
        after = EPOCH_KEY
        while True:
            facts = self._facts(after=after, limit=BATCH, **self.state().facts())
            with self._reading() as connection:
                page = [row[0] for row in connection.execute(self._sql.alive_keys, facts)]
            if not page:
                return
            yield page
            after = page[-1]

    # --- writing

    def put(self, row: Row, epoch: bytes) -> bool:
        """Writes one row, unless the namespace has another epoch by now; whether it did."""
        facts = {"space": self._namespace, "item": row.raw, "data": row.data, "word": row.word, "life": row.life}
        return self._if_current(epoch, lambda connection: connection.execute(self._sql.upsert, facts))

    def put_all(self, rows: Sequence[Row], epoch: bytes) -> bool:
        """Writes all of them in one transaction, unless the namespace has another epoch by now; whether it did."""
        return self._if_current(epoch, lambda connection: self._put(connection, rows, self._sql.upsert_all))

    def bury(self, raws: Sequence[bytes]) -> int:
        """Makes a tombstone of each key; how many were alive. `raws` are different, and at most `BATCH`."""
        word = new_word()
        facts = self._facts(keys=raws, word=word, **self.state().facts())
        alive: int = self._written(lambda connection: connection.execute(self._sql.bury, facts).rowcount)
        if alive < len(raws):
            with self._reading() as connection:
                buried = {row[0] for row in connection.execute(self._sql.written, facts)}
            # In a transaction of its own: to look for a row and then to insert it deadlocks in InnoDB.
            graves = [Row(raw, None, word, 0) for raw in raws if raw not in buried]
            self._written(lambda connection: self._put(connection, graves, self._sql.upsert_all))
        return alive

    def renew_epoch(self) -> None:
        """Makes every value and every token of the namespace a thing of the past."""
        epoch = self._own(EPOCH_KEY, _CLEARED + os.urandom(WORD_BYTES - len(_CLEARED)))
        mark = Row(LEFT_KEY, None, new_word(), 0)

        def renew(connection: sa.Connection) -> None:
            connection.execute(self._sql.upsert_all, epoch)
            self._put(connection, [mark], self._sql.upsert_all)

        self._written(renew)

    def invalidate(self, tags: Iterable[str]) -> None:
        """Gives the tags new words."""
        word = new_word()
        rows = [self._own(raw, word) for raw in sorted({TAG_KEY + tag.encode() for tag in tags})]
        self.state()  # there is one from now on

        def renew(connection: sa.Connection) -> None:
            connection.execute(self._sql.invalidate, self._facts(data=word))
            connection.execute(self._sql.upsert_all, rows)

        if rows:
            self._written(renew)

    def admit(self, due: Mapping[bytes, tuple[Row, Token]], *, written: bool) -> set[bytes]:
        """Writes the rows that nobody has written since their token, in one transaction.

        Args:
            due: at most `BATCH` rows with their tokens, by key; all rows have the same word.
            written: whether it is a write, which makes the tokens of others stale, or a fill, which does not.

        Returns:
            The keys that were written.
        """
        return self._written(lambda connection: self._admit(connection, due, written=written))

    def swap(self, row: Row, sight: Sight) -> bool:
        """Writes one row, in a transaction, if what was seen there is still there, or still nothing; whether it did."""
        return self._written(lambda connection: self._swap(connection, row, sight))

    def purge(self, limit: int) -> int:
        """Removes rows of every namespace that ended more than ten minutes ago, or that a clear has left; how many.

        What may be served as stale ends with its stale life.
        """
        with self._reading() as connection:
            rows = [tuple(row) for row in connection.execute(self._sql.dead, {"grace": _GRACE_MS, "limit": limit})]
            marked = [tuple(row) for row in connection.execute(self._sql.marked)]
        removed = 0
        for batch in batches(rows):
            removed += self._written(partial(self._remove_dead, rows=batch))
        removed += self._purge_spent(limit - removed)
        for namespace, word in marked:
            if removed < limit:
                other = Rows(self._engine, self._table, namespace, self._now)
                removed += other.sweep(limit - removed, word)
        return removed

    def sweep(self, limit: int, mark: bytes) -> int:
        """Removes what a clear has left of this namespace, and its mark once there is no more of it; how many rows."""
        facts = self.state().facts()
        with self._reading() as connection:
            found = connection.execute(self._sql.left, self._facts(limit=limit, **facts))
            raws = [row[0] for row in found]
        for batch in batches(raws):
            statement = self._facts(keys=batch, **facts)
            self._written(lambda connection, statement=statement: connection.execute(self._sql.remove_left, statement))  # type: ignore[misc]
        if len(raws) < limit:
            self._written(lambda connection: connection.execute(self._sql.remove_mark, self._facts(word=mark)))
        return len(raws)

    # --- within

    def _found(self, statement: Any, facts: Mapping[str, Any]) -> tuple[dict[bytes, Found], float]:
        with self._reading() as connection:
            sent = self._now()
            rows = connection.execute(statement, facts).all()
        return {row[0]: Found(*row) for row in rows}, sent

    def _facts(self, **facts: Any) -> dict[str, Any]:
        return {"space": self._namespace, **facts}

    def _own(self, raw: bytes, word: bytes) -> dict[str, Any]:
        """The columns of one of the store's own rows."""
        return Row(raw, None, word, None).facts(self._namespace, 0)

    def _if_current(self, epoch: bytes, write: Callable[[sa.Connection], object]) -> bool:
        def work(connection: sa.Connection) -> None:
            write(connection)
            # After the write, and in its transaction: a clear that has returned before is seen.
            if connection.execute(self._sql.state, self._facts()).scalar() != epoch:
                raise _Cleared

        try:
            self._written(work)
        except _Cleared:
            return False
        return True

    def _put(self, connection: sa.Connection, rows: Iterable[Row], statement: Any) -> None:
        # Asked once for all, so that the drivers can send the rows as one statement.
        now = connection.execute(self._sql.now).scalar_one()
        # In order, so that two transactions never wait for each other.
        facts = [row.facts(self._namespace, now) for row in sorted(rows, key=lambda row: row.raw)]
        connection.execute(statement, facts)

    def _purge_spent(self, limit: int) -> int:
        """Removes values whose stale life ended more than ten minutes ago; looks at all that are kept as stale."""
        removed, after = 0, (0, "", b"")
        while removed < limit:
            place = zip(("after_expires_at", "after_namespace", "after_entry_key"), after, strict=True)
            with self._reading() as connection:
                facts = {"grace": _GRACE_MS, "limit": BATCH, **dict(place)}
                page = [tuple(row) for row in connection.execute(self._sql.spared, facts)]
            spent = [
                (namespace, raw, word)
                for _, namespace, raw, stale, word, ended_ms in page
                if int.from_bytes(stale, "big") + _GRACE_MS < ended_ms
            ][: limit - removed]
            if spent:
                removed += self._written(partial(self._remove_spent, rows=spent))
            if len(page) < BATCH:
                break
            after = page[-1][:3]
        return removed

    def _remove_spent(self, connection: sa.Connection, rows: Sequence[Any]) -> int:
        count: int = connection.execute(self._sql.remove_spent, {"grace": _GRACE_MS, "rows": rows}).rowcount
        return count

    def _remove_dead(self, connection: sa.Connection, rows: Sequence[Any]) -> int:
        count: int = connection.execute(self._sql.remove_dead, {"grace": _GRACE_MS, "rows": rows}).rowcount
        return count

    def _admit(self, connection: sa.Connection, due: Mapping[bytes, tuple[Row, Token]], *, written: bool) -> set[bytes]:
        state = self._held_state(connection)
        seen = {raw: (row, token.word) for raw, (row, token) in due.items() if _up_to_date(state, row, token)}
        absent = [row for row, word in seen.values() if word is None]
        known = [raw for raw, (_, word) in seen.items() if word is not None]
        return self._replace(connection, known, seen, written=written) | self._add(connection, absent)

    def _swap(self, connection: sa.Connection, row: Row, sight: Sight) -> bool:
        token = sight.token
        if not _up_to_date(self._held_state(connection), replace(row, tagged=row.tagged or sight.tagged), token):
            return False
        if token.word is None:
            return bool(self._add(connection, [row]))
        found: Any = connection.execute(self._sql.locked_whole, self._facts(item=row.raw)).one_or_none()
        if found is None:
            return False
        now = Found(*found)
        ended = now.left_ms is not None and now.left_ms <= 0
        # A fill leaves the generation alone, so the value counts as well.
        if (now.word, now.data) != (token.word, sight.data) or (sight.there and ended):
            return False
        self._put(connection, [row], self._sql.upsert_all)
        return True

    def _held_state(self, connection: sa.Connection) -> State | None:
        """The state of the namespace, which stays as it is until the transaction ends."""
        for statement in self._sql.hold_epoch[:-1]:
            connection.execute(statement, self._facts())
        held = connection.execute(self._sql.hold_epoch[-1], self._facts()).one_or_none()
        return None if held is None else State(*held)

    def _replace(
        self, connection: sa.Connection, known: Sequence[bytes], seen: Mapping[bytes, tuple[Row, Any]], *, written: bool
    ) -> set[bytes]:
        if not known:
            return set()
        locked: Any = connection.execute(self._sql.locked, self._facts(keys=known))
        now = dict(locked.all())
        fresh = [seen[raw] for raw in known if now.get(raw) == seen[raw][1]]
        # A fill keeps the generation, so that it overtakes nobody; a write renews it.
        rows = [row if written else replace(row, word=word) for row, word in fresh]
        if rows:
            self._put(connection, rows, self._sql.upsert_all)
        return {row.raw for row in rows}

    def _add(self, connection: sa.Connection, rows: Sequence[Row]) -> set[bytes]:
        if not rows:
            return set()
        self._put(connection, rows, self._sql.insert)
        facts = self._facts(keys=[row.raw for row in rows], word=rows[0].word)
        return {row[0] for row in connection.execute(self._sql.written, facts)}

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            self._name_a_missing_table(error)
            raise

    def _written(self, work: Callable[[sa.Connection], T]) -> T:
        """Does the work in a transaction, once more if the server undid it to end a deadlock."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                self._name_a_missing_table(error)
                if attempt == _ATTEMPTS or not was_undone(error):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _name_a_missing_table(self, error: DBAPIError) -> None:
        if lacks_table(error, self._engine, self._table):
            raise MissingTableError(
                f"the table {self._table.fullname} does not exist; call the store's create_table(), or run what its "
                f"ddl() gives"
            ) from error
