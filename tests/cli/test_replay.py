"""The command `replay`: what it says, its exit codes, and that a kill makes it apply nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
import typer
from cryptography.fernet import Fernet
from rich.console import Console

from wellwired import Application, Registry, Settings, WriteRequest, handler, providers
from wellwired.cli.replay_command import chosen, replay_letters
from wellwired.errors import BackendError, DeadLettersError, Outcome, Retry
from wellwired.handlers.sql import insert
from wellwired.writers import MemoryWriter
from wellwired.writers.dead_letters import Letter
from wellwired.writers.idempotency import create_tables as create_keys
from wellwired.writers.letters_file import JSONLines
from wellwired.writers.letters_sql import create_tables

Run = Callable[..., subprocess.CompletedProcess[str]]

SHOP = """
import os, signal
import sqlalchemy as sa
from wellwired import Application, Registry, handler, providers
from wellwired.handlers import after_commit

items = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

@handler("add")
def add(request, connection):
    number = request.payload["n"]
    connection.execute(items.insert().values(n=number))
    if os.environ.get("DIE_IN") == str(number):
        die()
    if os.environ.get("DIE_AFTER") == str(number):
        after_commit(die)

class Shop(Application):
    handlers = providers.Singleton(Registry, add)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `replay` in a folder with a module `shop`, over a database with a table of keys."""
    (tmp_path / "shop.py").write_text(SHOP)
    engine = sa.create_engine(url(tmp_path))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, n INTEGER)")
    create_keys(engine)
    engine.dispose()

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WELLWIRED")}
        own = {
            "WELLWIRED__SQL__MAIN__URL": url(tmp_path),
            "WELLWIRED__WRITES__DEAD_LETTERS__PATH": str(tmp_path / "letters.jsonl"),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "wellwired.cli", "replay", "-c", "shop:Shop", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=inherited | own | variables,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def url(folder: Path) -> str:
    """The shop's database."""
    return f"sqlite:///{folder / 'shop.db'}"


def rows(folder: Path) -> list[int]:
    """What is in its table."""
    engine = sa.create_engine(url(folder))
    with engine.connect() as connection:
        found = [int(row[0]) for row in connection.exec_driver_sql("SELECT n FROM items ORDER BY n")]
    engine.dispose()
    return found


def letters(*numbers: int, outcome: Outcome = Outcome.NOT_APPLIED, key: str | None = None) -> list[Letter]:
    """Letters of rows that could be inserted any number of times."""
    error = BackendError("gone", outcome=outcome, retry=Retry.SAFE, reason="connection")
    made = [WriteRequest("sql.main", "add", {"n": n}, idempotency_key=key and f"{key}-{n}") for n in numbers]
    return [Letter.of(request, error) for request in made]


def test_a_replay_that_is_killed_twice_applies_every_letter_once(run: Run, tmp_path: Path) -> None:
    """Once after a COMMIT and before its mark, once before a COMMIT: with keys of their own, and with letters' keys."""
    sink = JSONLines(tmp_path / "letters.jsonl")
    sink.keep(letters(1, 2, 3))
    sink.keep(letters(4, 5, 6, outcome=Outcome.UNKNOWN, key="own"))
    sink.close()
    assert run(DIE_AFTER="2").returncode == -9
    assert rows(tmp_path) == [1, 2]
    assert run(DIE_IN="5").returncode == -9
    assert rows(tmp_path) == [1, 2, 3, 4]
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert "2 letters in" in done.stdout
    assert "applied   2" in done.stdout
    assert (sink.pile().done, sink.pile().waiting) == (6, ())


def test_a_word_that_is_no_code_is_said_in_one_line(run: Run) -> None:
    """Before anything is opened; exit code 2."""
    wrong = run("--only", "LOST")
    assert wrong.returncode == 2 and "NOT_APPLIED" in wrong.stderr and "Traceback" not in wrong.stderr


items = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))


class Shop(Application):
    """An application that inserts rows."""

    handlers = providers.Singleton(Registry, insert(items, type="add"))


class Desk:
    """A started shop, and what its replays say.

    Args:
        folder: where its database is.
        variables: settings about dead letters.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        names = {f"WELLWIRED__WRITES__DEAD_LETTERS__{name}": text for name, text in variables.items()}
        environ = {"WELLWIRED__SQL__MAIN__URL": url(folder), "WELLWIRED__LOG__LEVEL": "CRITICAL", **names}
        self.shop: Any = Shop(settings=Settings.load(_environ=environ, _env_file=None))
        self.said = ""

    def __enter__(self) -> Desk:
        self.shop.start()
        items.create(self.shop.sql["main"](), checkfirst=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self.shop.stop()
        structlog.reset_defaults()

    def replay(self, only: Sequence[str] = (), *, file: Path | None = None, **options: bool) -> int:
        """Replays; the exit code."""
        text = StringIO()
        out, err = Console(file=text, width=200), Console(file=StringIO())
        given = {"force": False, "dry_run": False, **options}
        code = replay_letters(self.shop, file=file, choice=chosen(only, (), ()), out=out, err=err, **given)
        self.said = text.getvalue()
        return code


def test_it_shows_what_it_would_do_and_refuses_what_it_must(tmp_path: Path) -> None:
    """A dry run changes nothing; a doubtful letter is refused until it is forced; damage is reported."""
    with Desk(tmp_path, PATH=str(tmp_path / "letters.jsonl")) as desk:
        sink = desk.shop.dead_letters()
        sink.keep([*letters(1), *letters(2, outcome=Outcome.UNKNOWN)])
        with sink.path.open("ab") as stream:
            stream.write(b'{"torn')
        before = sink.path.read_bytes()
        assert desk.replay(dry_run=True) == 1
        assert sink.path.read_bytes() == before and rows(tmp_path) == []
        assert "2 letters would be replayed" in desk.said and "line 3: it is torn" in desk.said
        assert "send" in desk.said and "refuse: it may be applied" in desk.said
        assert desk.replay() == 1
        assert rows(tmp_path) == [1] and "refused   1" in desk.said
        assert desk.replay(["backend/unknown"], force=True) == 1
        assert rows(tmp_path) == [1, 2] and "damaged" in desk.said


def test_letters_of_a_table_are_found(tmp_path: Path) -> None:
    """The settings name the database; what fails is kept there, and sent again when it can be."""
    with Desk(tmp_path, SQL="main") as desk:
        create_tables(desk.shop.sql["main"]())
        with pytest.raises(BackendError):
            desk.shop.write_manager().write(WriteRequest("sql.main", "add", {"id": 1, "n": 1}, idempotency_key="k"))
        assert desk.replay() == 1
        assert "failed    1 BACKEND" in desk.said
        create_keys(desk.shop.sql["main"]())
        assert desk.replay() == 0
        assert rows(tmp_path) == [1]
        assert desk.replay() == 0 and "0 letters in" in desk.said


def test_a_file_that_was_rotated_away_is_found_by_hand(tmp_path: Path) -> None:
    """With the key of the one that the settings name."""
    key = Fernet.generate_key().decode()
    with Desk(tmp_path, PATH=str(tmp_path / "letters.jsonl"), ENCRYPTION_KEYS=key) as desk:
        desk.shop.dead_letters().keep(letters(3))
        moved = (tmp_path / "letters.jsonl").rename(tmp_path / "letters.jsonl.1")
        assert desk.replay(file=moved) == 0
        assert rows(tmp_path) == [3]
        with pytest.raises(DeadLettersError, match=r"letters\.jsonl"):
            desk.replay()


def test_a_target_that_is_down_gives_up_with_a_code_of_its_own(tmp_path: Path) -> None:
    """Exit code 3: the same command is to be run again."""
    with Desk(tmp_path, PATH=str(tmp_path / "letters.jsonl")) as desk:
        desk.shop.dead_letters().keep(letters(*range(5)))
        writer = MemoryWriter("sql.main", handlers=Registry(handler("add")(lambda request, data: None)))
        writer.fail_next(*(BackendError("gone", retry=Retry.SAFE, reason="connection") for _ in range(99)))
        with desk.shop.overriding({"writers": {"sql.main": writer}}):
            assert desk.replay() == 3
        assert "gave up 2" in desk.said


def test_where_no_letters_are_kept_the_variable_is_named(tmp_path: Path) -> None:
    """A usage error."""
    with Desk(tmp_path) as desk, pytest.raises(typer.BadParameter, match="WELLWIRED__WRITES__DEAD_LETTERS__PATH"):
        desk.replay()
