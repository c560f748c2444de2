"""The application factory: `flask --app shop.app run`, or `gunicorn 'shop.app:create_app()'`."""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import with_appcontext

from shop import tables
from shop.containers import Shop
from shop.views import pages
from wellwired.integrations.flask import Wellwired

__all__ = ["SAMPLES", "create_app"]

wired = Wellwired()

SAMPLES = [
    {"id": 1, "name": "tea", "cents": 350, "stock": 500},
    {"id": 2, "name": "coffee", "cents": 480, "stock": 300},
    {"id": 3, "name": "the last cup", "cents": 1250, "stock": 1},
]


def create_app(container: Shop | type[Shop] = Shop) -> Flask:
    """Makes an application; nothing connects before the first request of a process.

    Args:
        container: another one than the environment gives, for tests.
    """
    app = Flask(__name__)
    app.register_blueprint(pages)
    wired.init_app(app, container=container)
    app.cli.add_command(create_tables)
    return app


@click.command("create-tables")
@click.option("--samples", is_flag=True, help="Put a few products in.")
@with_appcontext
def create_tables(*, samples: bool) -> None:
    """Creates the tables that are not there yet."""
    engine = wired.container.resolve("sql.main")
    tables.create(engine)
    if samples:
        with engine.begin() as connection:
            connection.execute(tables.products.insert(), SAMPLES)
