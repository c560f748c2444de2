"""The fixtures of this room: engines that wait as an application's would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa


@pytest.fixture
def sql_engine(sql_url: str) -> Iterator[sa.Engine]:
    """An engine on a fresh empty database; on SQLite with a write-ahead log, and patience with other writers."""
    patience = {"timeout": 30.0} if sql_url.startswith("sqlite") else {}
    engine = sa.create_engine(sql_url, connect_args=patience)
    if patience:
        with engine.connect() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    yield engine
    engine.dispose()
