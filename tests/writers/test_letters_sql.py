"""Tests of dead letters in a table of a database, on every database that is there."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.exc import IntegrityError

from tests.writers.letters_kit import SECRET, ending, letter
from wellwired.errors import DeadLettersError, Outcome
from wellwired.writers.dead_letters import DEFAULT_CODES, DeadLetters, Mark, Replayable, Waiting, fernet
from wellwired.writers.letters_sql import SQLLetters, create_tables, ddl, table


@pytest.fixture
def sink(sql_engine: sa.Engine) -> SQLLetters:
    """A sink with its table."""
    create_tables(sql_engine)
    return SQLLetters(sql_engine)


def test_a_letter_comes_back_as_it_was_kept(sink: SQLLetters) -> None:
    """With its payload, its key and all its facts; the oldest first, those of one transaction in their order."""
    named: dict[str, Any] = {
        "meta": {"trace_id": "abc"},
        "timeout": 2.5,
        "idempotency_key": "k-1",
        "changes": {"stores.users": ["a"]},
    }
    first, *rest = letter(**named), letter(unit="u-2"), letter(unit="u-2")
    sink.keep(rest)
    sink.keep([first])
    found = [one.letter for one in sink.pile().waiting]
    assert sorted(found, key=lambda one: one.at) == found
    assert {one.id: one for one in found} == {one.id: one for one in (first, *rest)}


def test_it_is_what_the_protocols_say(sink: SQLLetters) -> None:
    """A sink, and one that can be replayed."""
    held: object = sink
    assert isinstance(held, DeadLetters) and isinstance(held, Replayable)
    assert sink.codes == DEFAULT_CODES
    assert "SQLLetters" in repr(sink)


def test_letters_are_kept_all_or_none(sink: SQLLetters) -> None:
    """In one transaction."""
    one = letter()
    sink.keep([one])
    with pytest.raises(IntegrityError):
        sink.keep([letter(), one])
    assert len(sink.pile().waiting) == 1


def test_a_mark_is_made_by_one_alone(sink: SQLLetters) -> None:
    """Of racing replays one gets a letter; what is done is gone from the pile."""
    sink.keep([letter(), letter(ending(Outcome.UNKNOWN))])
    first, second = sink.pile().waiting
    won: list[bool] = []
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        won.append(sink.mark(first, Mark.BEGUN))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    assert sink.pile().waiting[0].doubtful and second.doubtful and not first.doubtful
    assert sink.mark(Waiting(first.letter, Mark.BEGUN), Mark.DONE)
    pile = sink.pile()
    assert ([one.letter.id for one in pile.waiting], pile.done) == ([second.letter.id], 1)


def test_an_encrypted_letter_shows_names_and_codes_only(sql_engine: sa.Engine) -> None:
    """What it holds is for who has the key; for others it is reported by its id."""
    create_tables(sql_engine)
    key, one = Fernet.generate_key(), letter(idempotency_key=SECRET)
    SQLLetters(sql_engine, cipher=fernet(key)).keep([one])
    with sql_engine.connect() as connection:
        assert SECRET not in repr(connection.execute(table.select()).all())
    assert [waiting.letter for waiting in SQLLetters(sql_engine, cipher=fernet(key)).pile().waiting] == [one]
    assert SQLLetters(sql_engine).pile().damaged == (f"letter {one.id}: it is encrypted, and no key was given",)


def test_a_table_that_is_not_there_is_named(sql_engine: sa.Engine) -> None:
    """With what creates it, and without the password of the database."""
    with pytest.raises(DeadLettersError, match="create_tables") as caught, SQLLetters(sql_engine).alone():
        raise AssertionError("it was let in")
    password = sql_engine.url.password
    assert "wellwired_dead_letters" in str(caught.value)
    assert not password or str(password) not in str(caught.value)


def test_replays_are_kept_apart_letter_by_letter(sink: SQLLetters) -> None:
    """Two may be under way at once."""
    with sink.alone(), sink.alone():
        assert sink.pile().waiting == ()


def test_the_ddl_makes_the_table(sql_engine: sa.Engine) -> None:
    """For those who run their migrations themselves."""
    with sql_engine.begin() as connection:
        for statement in filter(str.strip, ddl(sql_engine).split(";")):
            connection.exec_driver_sql(statement)
    sink = SQLLetters(sql_engine)
    sink.keep([letter()])
    assert len(sink.pile().waiting) == 1
