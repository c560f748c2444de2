"""Dead letters in a table of a database: a row for each letter, with the mark that a replay made last.

Keep them in another database than the one that is written to, or in a file: when that one is down, so is its table of
letters. Create the table once, by `create_tables` or with the DDL that `ddl` gives::

    CREATE TABLE wellwired_dead_letters (
        id VARCHAR(32) NOT NULL PRIMARY KEY,
        at_ms BIGINT NOT NULL,                -- milliseconds since the Unix epoch; indexed
        target VARCHAR(128) NOT NULL,
        type VARCHAR(128) NOT NULL,
        code VARCHAR(32) NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        reason VARCHAR(64) NOT NULL,
        phase VARCHAR(16) NOT NULL,
        attempts INTEGER NOT NULL,
        unit VARCHAR(32) NOT NULL,            -- shared by the writes of one transaction
        place INTEGER NOT NULL,               -- within it
        how VARCHAR(8) NOT NULL,              -- plain or sealed
        held TEXT NOT NULL,                   -- payload and what else only a letter may hold; LONGTEXT on MySQL
        mark VARCHAR(8) NOT NULL,             -- new, begun, back, doubt or done
        marked_ms BIGINT NOT NULL
    )
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import DeadLettersError, ErrorCode
from wellwired.writers._sealing import opened, sealed
from wellwired.writers.dead_letters import DEFAULT_CODES, Cipher, Letter, Mark, Pile, Waiting

__all__ = ["SQLLetters", "create_tables", "ddl", "table"]

_metadata = MetaData()

table = Table(
    "wellwired_dead_letters",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("target", String(128), nullable=False),
    Column("type", String(128), nullable=False),
    Column("code", String(32), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("unit", String(32), nullable=False),
    Column("place", Integer, nullable=False),
    Column("how", String(8), nullable=False),
    Column("held", Text().with_variant(LONGTEXT(), "mysql", "mariadb"), nullable=False),
    Column("mark", String(8), nullable=False),
    Column("marked_ms", BigInteger, nullable=False),
    Index("wellwired_dead_letters_at", "at_ms"),
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)
"""The table of letters."""

_NEW = "new"
_add = insert(table)
_waiting = select(table).where(table.c.mark != Mark.DONE.value).order_by(table.c.at_ms, table.c.unit, table.c.place)
_done = select(func.count()).select_from(table).where(table.c.mark == Mark.DONE.value)
_mark = (
    update(table)
    .where(table.c.id == bindparam("letter"), table.c.mark == bindparam("was"))
    .values(mark=bindparam("becomes"), marked_ms=bindparam("now"))
)


def create_tables(engine: Engine) -> None:
    """Creates the table of letters if it is not there; to be called once per database, by a migration or at start.

    Args:
        engine: the database.
    """
    _metadata.create_all(engine)


def ddl(engine: Engine) -> str:
    """The statements that create the table, for those who run their migrations themselves.

    Args:
        engine: whose dialect to write them in; it is not connected to.

    Returns:
        SQL, one statement after the other, each ended by a semicolon.
    """
    parts: list[ExecutableDDLElement] = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    return "\n".join(f"{str(part.compile(dialect=engine.dialect)).strip()};" for part in parts)


class SQLLetters:
    """Dead letters in a table; safe to share by threads and processes.

    A letter is committed when `keep` returns, as durably as the database commits. Waiting is bounded by the engine's
    own timeouts. A letter is claimed by a change of its mark, so two replays at once never send one that is new both.

    Args:
        engine: the database; its table must be there. It is not disposed of.
        codes: of which errors letters are wanted.
        cipher: encrypts what letters hold; None leaves it readable.
        clock: tells the time of day.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        codes: Collection[ErrorCode] = DEFAULT_CODES,
        cipher: Cipher | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.codes = frozenset(codes)
        self._engine, self._cipher, self._clock = engine, cipher, clock

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Adds letters in one transaction, all or none.

        Raises:
            TypeError: something in a payload has no form.
            sqlalchemy.exc.SQLAlchemyError: the database did not take them.
        """
        rows = [self._row(letter, place) for place, letter in enumerate(letters)]
        with self._engine.begin() as connection:
            connection.execute(_add, rows)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Checks that the table is there; replays at once are kept apart letter by letter, by `mark`."""
        try:
            with self._engine.connect() as connection:
                connection.execute(select(table.c.id).limit(1))
        except SQLAlchemyError as error:
            what = type(getattr(error, "orig", None) or error).__name__
            raise DeadLettersError(
                f"there are no dead letters at {self._engine.url.render_as_string()}: the table {table.name} cannot be "
                f"read ({what}); create it with wellwired.writers.letters_sql.create_tables"
            ) from None
        yield

    def pile(self) -> Pile:
        """Reads the table; a row that is damaged or cannot be decrypted is left out and reported."""
        waiting: list[Waiting] = []
        damaged: list[str] = []
        with self._engine.connect() as connection:
            rows, done = connection.execute(_waiting).all(), connection.scalar(_done) or 0
        for row in rows:
            try:
                waiting.append(Waiting(self._letter(row), None if row.mark == _NEW else Mark(row.mark)))
            except ValueError as error:
                damaged.append(f"letter {row.id}: {error}")
        return Pile(tuple(waiting), done, tuple(damaged))

    def mark(self, waiting: Waiting, mark: Mark, /) -> bool:
        """Marks a letter, if its mark is still what it was."""
        was = _NEW if waiting.mark is None else waiting.mark.value
        change = {"letter": waiting.letter.id, "was": was, "becomes": mark.value, "now": self._now()}
        with self._engine.begin() as connection:
            return connection.execute(_mark, change).rowcount == 1

    def __repr__(self) -> str:
        return f"SQLLetters({self._engine.url.render_as_string()})"

    def _now(self) -> int:
        return round(self._clock.wall() * 1000)

    def _row(self, letter: Letter, place: int) -> dict[str, Any]:
        how, text = sealed(letter.held(), self._cipher)
        facts = letter.facts()
        at = round(facts.pop("at") * 1000)
        facts["reason"] = letter.reason[:64]
        return {**facts, "at_ms": at, "place": place, "how": how, "held": text, "mark": _NEW, "marked_ms": at}

    def _letter(self, row: Row[Any]) -> Letter:
        names = ("id", "target", "type", "code", "outcome", "reason", "phase", "attempts", "unit")
        facts = {name: getattr(row, name) for name in names}
        return Letter.rebuilt({**facts, "at": row.at_ms / 1000}, opened(row.how, row.held, self._cipher))
