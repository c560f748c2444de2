"""The shop for tests: on a SQLite file and a Redis inside the process, without a server and without an environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shop import tables
from shop.app import SAMPLES, create_app
from shop.containers import Shop, ShopSettings


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A container of the test's own, with three products."""
    settings = ShopSettings.load(
        _environ={},
        _env_file=None,
        sql={"main": {"url": f"sqlite:///{tmp_path / 'shop.db'}"}},
        redis={"cache": {"url": "memory://"}},
        stores={"products": {"layers": "memory:60,redis.cache:300,table.products!"}},
        log={"level": "CRITICAL"},
    )
    with Shop(settings=settings) as started:
        engine = started.sql["main"]()
        tables.create(engine)
        with engine.begin() as connection:
            connection.execute(tables.products.insert(), SAMPLES)
        yield started


@pytest.fixture
def app(shop: Shop) -> Flask:
    """The application on it."""
    return create_app(shop)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """What sends it requests."""
    return app.test_client()
