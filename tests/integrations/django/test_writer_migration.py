"""The table of idempotency keys by a migration as an application writes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, migrations
from django.db.migrations.state import ProjectState

from tests.integrations.django.writer_kit import Alias, ledger
from wellwired.integrations.django.writer import create_key_table, drop_key_table, purge_keys


@pytest.fixture
def alias(sql_url: str) -> Iterator[Alias]:
    """A fresh database."""
    with ledger(sql_url) as made:
        yield made


class Keys(migrations.Migration):
    """What an application writes."""

    operations = (migrations.RunPython(create_key_table, drop_key_table),)


def test_a_migration_creates_the_table_and_drops_it(alias: Alias) -> None:
    """There and back on every database, those included that commit a table at once; again it is no work."""
    connection = connections[alias.name]
    purge_keys(alias.name)
    for step in ("unapply", "apply", "apply"):
        with connection.schema_editor(atomic=Keys.atomic) as editor:
            getattr(Keys("keys", "shop"), step)(ProjectState(), editor)
        there = "wellwired_idempotency" in connection.introspection.table_names()
        assert there is (step == "apply")
    assert purge_keys(alias.name) == 0
