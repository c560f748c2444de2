"""Writes and layered reads of one application agree: what the manager wrote is what the store gives from then on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from wellwired import Application, DelegatedStore, Registry, Settings, WriteRequest, handler, providers
from wellwired.errors import BackendError, InvalidRequestError, Retry
from wellwired.handlers.sql import upsert
from wellwired.stores.table import TableKey, TableStore
from wellwired.writers import MemoryWriter
from wellwired.writers.dead_letters import NoLetters
from wellwired.writers.letters_file import JSONLines

users = sa.Table(
    "users", sa.MetaData(), sa.Column("id", sa.String(20), primary_key=True), sa.Column("version", sa.Integer)
)


def changed(request: WriteRequest) -> dict[str, list[str]]:
    """The key of the user that a request writes."""
    return {"stores.users": [f"user:{request.payload.id}"]}


class OwnSettings(Settings):
    """Settings for a shop whose users are rows of its own."""

    extra_layers = ("table.users",)


# What a section is given may be plain dicts, which only pydantic knows.
settings_of: Any = OwnSettings


class Shop(Application):
    """An application whose users are written by the manager and read through three layers."""

    settings = providers.Singleton(OwnSettings.load)
    handlers = providers.Singleton(Registry, upsert(users, type="user_changed", changes=changed))
    table = providers.Singleton(TableStore, Application.sql["main"], users, key=TableKey(prefix="user:"))
    own_layers = providers.Dict({"table.users": table})


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leaves structlog as it was."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def shop(sql_url: str, real_redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    """A started shop with its table."""
    monkeypatch.chdir(tmp_path)
    settings = settings_of(
        sql={"main": {"url": sql_url}},
        redis={"cache": {"url": real_redis_url}},
        stores={"users": {"layers": "memory:60,redis.cache:3600,table.users!"}},
        log={"level": "CRITICAL"},
    )
    with Shop(settings=settings) as started:
        users.create(started.sql["main"]())
        yield started


def write(shop: Any, user: str, version: int) -> None:
    """Writes a user by the manager."""
    request = WriteRequest("sql.main", "user_changed", {"id": user, "version": version}, timeout=30)
    assert shop.write_manager().write(request).warnings == ()


class Race:
    """Threads that write and at once read what they wrote, and threads that read all the time.

    Args:
        shop: the application.
        rounds: how often each writer writes its own user, and the common one.
    """

    def __init__(self, shop: Any, rounds: int) -> None:
        self.stale: list[str] = []
        self._shop, self._rounds = shop, rounds
        self._store: DelegatedStore[Any] = shop.stores["users"]()
        self._over, self._turn, self._latest = threading.Event(), threading.Lock(), 0

    def version(self, user: str) -> int:
        """What the store gives."""
        found: int = self._store.get(f"user:{user}")["version"]
        return found

    def run(self, *users: str) -> None:
        """A writer for each user, and two readers."""
        readers = [threading.Thread(target=self._read, args=(users,)) for _ in range(2)]
        writers = [threading.Thread(target=self._work, args=(user,)) for user in users]
        for thread in (*readers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        self._over.set()
        for thread in readers:
            thread.join()

    def _work(self, own: str) -> None:
        for number in range(1, self._rounds + 1):
            write(self._shop, own, number)
            if self.version(own) != number:
                self.stale.append(f"{own} {number}")
            with self._turn:
                self._latest += 1
                written = self._latest
                write(self._shop, "common", written)
            if self.version("common") < written:
                self.stale.append(f"common {written}")

    def _read(self, users: tuple[str, ...]) -> None:
        while not self._over.is_set():
            for user in (*users, "common"):
                self._store.get(f"user:{user}", None)


def test_the_store_never_serves_what_was_before_a_write_that_returned(shop: Any) -> None:
    """Two threads write, each its own user and one in common, while others read: no read goes back behind a write."""
    race = Race(shop, rounds=15)
    race.run("a", "b")
    assert race.stale == []
    assert (race.version("a"), race.version("b"), race.version("common")) == (15, 15, 30)


def test_without_the_eviction_old_copies_are_served(shop: Any) -> None:
    """The control: a write that does not say what it changes leaves them where they are."""
    store: DelegatedStore[Any] = shop.stores["users"]()
    write(shop, "a", 1)
    assert store.get("user:a")["version"] == 1
    store.flush(10)
    with shop.sql["main"]().begin() as connection:
        connection.execute(users.update().values(version=2))
    assert store.get("user:a")["version"] == 1
    write(shop, "a", 3)
    assert store.get("user:a")["version"] == 3


def test_a_store_that_the_settings_lack_is_refused_with_the_variable_to_set(shop: Any) -> None:
    """Before anything is sent, and whatever else was built."""
    request = WriteRequest(
        "sql.main", "user_changed", {"id": "a", "version": 1}, changes={"stores.orders": ["o:1"], "elsewhere": ["x"]}
    )
    with pytest.raises(InvalidRequestError, match="WELLWIRED__STORES__ORDERS__LAYERS"):
        shop.write_manager().write(request)
    with pytest.raises(InvalidRequestError, match="elsewhere"):
        shop.write_manager().write(
            WriteRequest("sql.main", "user_changed", {"id": "a", "version": 1}, changes={"elsewhere": ["x"]})
        )
    assert shop.stores["users"]().get("user:a", None) is None


def test_a_store_is_built_when_a_write_first_names_it(sqlite_url: str, monkeypatch: Any, tmp_path: Any) -> None:
    """The manager alone builds none, nor does a write that names none; a stand-in for the family is asked instead."""
    monkeypatch.chdir(tmp_path)
    settings = settings_of(
        sql={"main": {"url": sqlite_url}},
        stores={"users": {"layers": "memory:60,table.users!"}},
        log={"level": "CRITICAL"},
    )
    built: list[str] = []

    class Shelf:
        """A store that remembers what was evicted."""

        def evict(self, keys: tuple[str, ...], /) -> None:
            built.extend(keys)

    made = Shop(settings=settings)
    with made:
        users.create(made.sql["main"]())
        with made.overriding({"stores": {"users": Shelf()}}):
            write(made, "a", 1)
        assert built == ["user:a"]
        write(made, "a", 2)
        assert built == ["user:a"]
        assert made.stores["users"]().get("user:a") == {"version": 2}


def test_what_stands_around_writes_is_set_by_the_environment(monkeypatch: Any, tmp_path: Any) -> None:
    """The budget, the breaker and the place of dead letters; by default there is neither of the last two."""
    monkeypatch.chdir(tmp_path)
    names = {
        "SQL__MAIN__URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "WRITES__BUDGET__CAPACITY": "40",
        "WRITES__BREAKER__ENABLED": "true",
        "WRITES__BREAKER__CALLS": "1",
        "WRITES__BREAKER__PAUSE": "30",
        "WRITES__DEAD_LETTERS__PATH": str(tmp_path / "letters.jsonl"),
        "WRITES__ATTEMPTS": "1",
        "LOG__LEVEL": "CRITICAL",
    }
    environ = {f"WELLWIRED__{name}": text for name, text in names.items()}
    writer = MemoryWriter("sql.main", handlers=Registry(handler("user_changed")(lambda request, data: None)))
    writer.fail_next(BackendError("gone", retry=Retry.SAFE, reason="connection"))
    with (
        Shop(settings=OwnSettings.load(_environ=environ)) as made,
        made.overriding({"writers": {"sql.main": writer}}) as shop,
    ):
        for reason in ("connection", "circuit_open"):
            with pytest.raises(BackendError) as caught:
                shop.write_manager().write(WriteRequest("sql.main", "user_changed", {"id": "a"}))
            assert caught.value.reason == reason
        letters = shop.dead_letters()
        assert isinstance(letters, JSONLines)
        assert [one.letter.reason for one in letters.pile().waiting] == ["connection", "circuit_open"]
    with Application(settings=settings_of(log={"level": "CRITICAL"})) as plain:
        assert isinstance(plain.dead_letters(), NoLetters)
        assert not plain.write_manager()._keeps
        assert plain.write_manager()._circuits is None
