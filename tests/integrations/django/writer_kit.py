"""What the tests of the Django writer share: models, aliases on fresh databases, and requests."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from sqlalchemy.engine import URL, make_url

from wellwired.clock import Deadline
from wellwired.handlers import FunctionHandler
from wellwired.integrations.django.writer import DjangoWriter, create_key_table
from wellwired.operations import WriteRequest, WriteResult

try:
    import MySQLdb  # type: ignore[import-untyped]  # noqa: F401 - mysqlclient, where it is installed
except ModuleNotFoundError:
    import pymysql  # type: ignore[import-untyped]

    pymysql.install_as_MySQLdb()

__all__ = ["Account", "Alias", "Entry", "Owner", "balances", "doing", "insert", "ledger", "on", "write"]

_ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}


class Account(models.Model):
    """Something with a rule of the database's."""

    id = models.IntegerField(primary_key=True)
    balance = models.IntegerField()

    class Meta:
        """Of no installed app: its table is made for each test."""

        app_label = "writer_kit"
        constraints = [models.CheckConstraint(condition=models.Q(balance__gte=0), name="no_debts")]  # noqa: RUF012


class Owner(models.Model):
    """Something that refers to another; on PostgreSQL and SQLite that is looked at when it is committed."""

    account = models.ForeignKey(Account, models.PROTECT)

    class Meta:
        """Of no installed app: its table is made for each test."""

        app_label = "writer_kit"


class Entry(models.Model):
    """Something that may be there twice."""

    text = models.CharField(max_length=100)

    class Meta:
        """Of no installed app: its table is made for each test."""

        app_label = "writer_kit"


MODELS = (Account, Owner, Entry)

Work = Callable[[WriteRequest, BaseDatabaseWrapper], Any]


class Alias:
    """One of Django's databases, on a fresh one of a real server, with the tables of the models.

    Args:
        url: SQLAlchemy's URL of the fresh database.
        settings: what else `DATABASES` has for it.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = make_url(url)
        self.name = f"t_{secrets.token_hex(4)}"
        self.kind = "mariadb" if self.url.get_backend_name() in ("mysql", "mariadb") else self.url.get_backend_name()
        self._made: list[BaseDatabaseWrapper] = []
        self._names: list[str] = []
        self.engine = sa.create_engine(self.url)
        self.add(self.name, self.url, **settings)
        connection_created.connect(self._note)

    def add(self, name: str, url: URL, **settings: Any) -> None:
        """Tells Django of another alias."""
        connections.settings[name] = _settings(url, settings)
        self._names.append(name)

    def create_tables(self, *, keys: bool = True) -> None:
        """Creates the tables of the models, and that of idempotency keys by what a migration calls."""
        with connections[self.name].schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
            if keys:
                create_key_table(None, editor)

    @contextmanager
    def through(self, port: int, **settings: Any) -> Iterator[str]:
        """An alias for the same database by way of another port."""
        name = f"{self.name}_{port}"
        self.add(name, self.url.set(port=port), **settings)
        yield name

    def rows(self, table: str = "writer_kit_account") -> list[Any]:
        """What is committed, by another way than Django."""
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY id")))

    def close(self) -> None:
        """Closes every connection that a test or its threads have made."""
        connection_created.disconnect(self._note)
        for connection in self._made:
            connection.inc_thread_sharing()
            connection.close()
            if connection.closed_in_transaction:
                connection.connection = None
        for name in self._names:
            with suppress(AttributeError):  # this thread has not asked for it
                del connections[name]
            del connections.settings[name]
        self.engine.dispose()

    def _note(self, connection: BaseDatabaseWrapper, **_rest: Any) -> None:
        if connection.alias in self._names and connection not in self._made:
            self._made.append(connection)


@contextmanager
def ledger(url: str, **settings: Any) -> Iterator[Alias]:
    """An alias with its tables, for the length of a block."""
    made = Alias(url, **settings)
    try:
        made.create_tables()
        yield made
    finally:
        made.close()


def _settings(url: URL, more: dict[str, Any]) -> dict[str, Any]:
    kind = url.get_backend_name().replace("mariadb", "mysql")
    given: dict[str, Any] = {
        "ENGINE": f"django.db.backends.{_ENGINES[kind]}",
        "NAME": url.database or "",
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.host or "",
        "PORT": str(url.port or ""),
        "OPTIONS": dict(url.query) | more.pop("OPTIONS", {}),
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": False,
        "TIME_ZONE": None,
        "TEST": {"CHARSET": None, "COLLATION": None, "MIGRATE": True, "MIRROR": None, "NAME": None},
    }
    return given | more


def on(alias: str) -> Any:
    """This thread's connection."""
    return connections[alias]


def doing(work: Work, **traits: Any) -> FunctionHandler[Any, Any]:
    """A handler that does this."""
    return FunctionHandler(work, type="test", backend="django", **traits)


def insert(request: WriteRequest, connection: BaseDatabaseWrapper) -> int:
    """Inserts the payload as an account and returns its id."""
    return int(Account.objects.using(connection.alias).create(**request.payload).pk)


def write(
    writer: DjangoWriter,
    work: Work = insert,
    payload: dict[str, Any] | None = None,
    *,
    seconds: float = 10.0,
    key: str | None = None,
    deadline: Deadline | None = None,
) -> WriteResult[Any]:
    """One attempt by a writer."""
    given = {"id": 1, "balance": 10} if payload is None else payload
    request = WriteRequest(target=writer.name, type="test", payload=given, idempotency_key=key)
    return writer.write(request, handler=doing(work), deadline=deadline or Deadline.after(seconds))


def balances(alias: Alias) -> dict[int, int]:
    """The committed accounts."""
    return {row[0]: row[1] for row in alias.rows()}
