"""Django's database: from a URL in the environment, as `SHOP_DATABASE_URL=postgresql://shop@127.0.0.1/shop`."""

from __future__ import annotations

from typing import Any

from django.db import connections
from sqlalchemy.engine import make_url

__all__ = ["database", "ping"]

_ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def database(url: str) -> dict[str, Any]:
    """What `DATABASES` is to say of a database.

    Args:
        url: where it is; what follows a question mark are options of its driver.
    """
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind in ("mysql", "mariadb"):
        import pymysql

        pymysql.install_as_MySQLdb()
    options = {name: text for name, text in parsed.query.items() if isinstance(text, str)}
    return {
        "ENGINE": f"django.db.backends.{_ENGINES[kind]}",
        "NAME": parsed.database or "",
        "USER": parsed.username or "",
        "PASSWORD": parsed.password or "",
        "HOST": parsed.host or "",
        "PORT": str(parsed.port or ""),
        "OPTIONS": options,
        # A connection for each thread of a worker, kept and looked at before a request uses it.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def ping(alias: str) -> None:
    """Asks a database for an answer, over a connection of its own; raises what Django raises."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        # A ping has a thread of its own, whose connection nobody else would close.
        connections[alias].close()
