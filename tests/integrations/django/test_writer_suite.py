"""The Django writer, held to the contract of writers on each kind of database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import connections

from tests.integrations.django.writer_kit import Alias, Entry, ledger
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.testing.conformance import WriterSuite
from wellwired.writers.protocol import Writer


@pytest.fixture
def alias(sql_url: str) -> Iterator[Alias]:
    """A fresh database with its tables."""
    with ledger(sql_url) as made:
        yield made


class TestDjangoWriter(WriterSuite):
    """On SQLite, MariaDB and PostgreSQL in turn."""

    @pytest.fixture
    def writer(self, alias: Alias) -> Writer:
        """On the fresh database."""
        self.alias = alias
        return DjangoWriter(alias.name)

    def put(self, connection: Any, text: str) -> None:
        """By the ORM."""
        Entry.objects.using(connection.alias).create(text=text)

    def written(self, writer: Writer) -> Iterable[str]:
        """By another way."""
        return [row[1] for row in self.alias.rows("writer_kit_entry")]

    def refuse(self, connection: Any) -> None:
        """A column that is not there."""
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO writer_kit_entry (nothing) VALUES (1)")

    def after_fork(self, writer: Writer) -> None:
        """Nothing: the child's first write makes a connection of its own."""
        assert connections[self.alias.name].connection is None
