"""The shop for tests: as `.env.example` configures it, with every backend in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shop import tables
from shop.app import SAMPLES, create_app
from shop.containers import Shop, ShopSettings
from wellwired import providers

EXAMPLE = Path(__file__).parents[1] / ".env.example"


class ExampleShop(Shop):
    """The shop on the settings of the example, whatever the environment says."""

    settings = providers.Singleton(ShopSettings.load, _environ={}, _env_file=EXAMPLE)


@pytest.fixture(scope="session")
def wellwired_container_source() -> type[Shop]:
    """Of what wellwired's fixtures make a container for each test."""
    return ExampleShop


@pytest.fixture
def shop(wellwired_in_memory: Shop) -> Shop:
    """The container of the test, its tables made and filled."""
    engine = wellwired_in_memory.resolve("sql.main")
    tables.create(engine)
    with engine.begin() as connection:
        connection.execute(tables.products.insert(), SAMPLES)
    return wellwired_in_memory


@pytest.fixture
def app(shop: Shop) -> Flask:
    """The application on it."""
    return create_app(shop)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """What sends it requests."""
    return app.test_client()
