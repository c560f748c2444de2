"""What the URL of a database or of a Redis may be, decided without importing a driver.

Each scheme belongs to a dialect, a driver and the extra that installs it. A driver that is missing is a fault of the
configuration like any other, so it is looked for, by name and without running any of its code. A complaint says what
is wrong with a URL and never repeats a part of it: even the piece that looks like a host may be half a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from wellwired.settings.names import near

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Driver", "complaints_of_redis_url", "complaints_of_sql_url", "driver_of"]


class Driver(NamedTuple):
    """What connects by a scheme.

    Args:
        dialect: ``sqlite``, ``mysql``, ``mariadb``, ``postgresql`` or ``redis``.
        scheme: the full scheme that the pool is opened with.
        modules: the modules that must be there.
        package: the distribution to install.
        extra: the extra of wellwired that brings it.
    """

    dialect: str
    scheme: str
    modules: tuple[str, ...] = ()
    package: str = ""
    extra: str = ""


_SQLITE = Driver("sqlite", "sqlite+pysqlite")
_MYSQL = Driver("mysql", "mysql+pymysql", ("pymysql",), "PyMySQL", "mysql")
_MARIADB = _MYSQL._replace(dialect="mariadb", scheme="mariadb+pymysql")
_POSTGRESQL = Driver("postgresql", "postgresql+psycopg", ("psycopg",), "psycopg", "postgresql")
_REDIS = Driver("redis", "redis")

_SQL = {
    "sqlite": _SQLITE,
    "sqlite+pysqlite": _SQLITE,
    "mysql": _MYSQL,
    "mysql+pymysql": _MYSQL,
    "mariadb": _MARIADB,
    "mariadb+pymysql": _MARIADB,
    "postgresql": _POSTGRESQL,
    "postgresql+psycopg": _POSTGRESQL,
    "postgres": _POSTGRESQL,
}
_KEY_VALUE = {
    "redis": _REDIS,
    "rediss": _REDIS._replace(scheme="rediss"),
    "unix": _REDIS._replace(scheme="unix"),
    "memory": Driver("redis", "memory", ("fakeredis", "lupa"), "fakeredis[lua]", "embedded"),
}
_NO_NUMBER = "has a database that is not a number; write redis://host:6379/0"
_REDIS_OPTIONS = {"db", "client_name", "username", "password"}


def driver_of(url: str) -> Driver | None:
    """The driver that a URL asks for, or None if its scheme is not known; pure."""
    scheme = url.partition("://")[0].lower()
    return _SQL.get(scheme) or _KEY_VALUE.get(scheme)


def complaints_of_sql_url(url: str) -> Iterator[str]:
    """What is wrong with the URL of a database.

    Args:
        url: the URL.

    Yields:
        A phrase for each fault, without a part of the URL.
    """
    complaint = _complaint_of_text(url) or _complaint_of_scheme(url, _SQL)
    if complaint:
        yield complaint
        return
    parsed = _parse_sql(url)
    if parsed is None:
        yield "is a URL that cannot be read; its port must be a number, and : @ / in a password are written %3A %40 %2F"
        return
    if url.count("@") > 1 and parsed.get_backend_name() != "sqlite":
        yield "has an @ in its user or password; write it %40"
    if parsed.port is not None and not 0 < parsed.port < 65536:
        yield "has a port that is not between 1 and 65535"
    if parsed.get_backend_name() == "sqlite" and parsed.host:
        yield "names a host, and SQLite has none; a file is written with three slashes, as in sqlite:///data.db"
    yield from _missing_driver(url)


def complaints_of_redis_url(url: str) -> Iterator[str]:
    """What is wrong with the URL of a Redis.

    Args:
        url: the URL.

    Yields:
        A phrase for each fault, without a part of the URL.
    """
    complaint = _complaint_of_text(url) or _complaint_of_scheme(url, _KEY_VALUE)
    if complaint:
        yield complaint
        return
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:  # its text would quote the URL
        yield "is a URL that cannot be read; its port must be a number between 1 and 65535"
        return
    if port == 0:
        yield "has a port that is not between 1 and 65535"
    yield from _redis_place(parts.scheme.lower(), host, parts.path.strip("/"))
    options = parse_qs(parts.query)
    if set(options) - _REDIS_OPTIONS:
        yield "has an option after the ?; options are settings of their own, such as SOCKET_TIMEOUT beside URL"
    if not all(number.isdecimal() for number in options.get("db", ())):
        yield _NO_NUMBER
    yield from _missing_driver(url)


def _redis_place(scheme: str, host: str | None, path: str) -> Iterator[str]:
    if scheme == "memory":
        if path:
            yield "has a path; write memory:// or memory://name"
    elif scheme == "unix":
        if not path:
            yield "names no socket; write unix:///run/redis.sock"
    else:
        if not host:
            yield "names no host; write redis://host:6379/0"
        if path and not path.isdecimal():
            yield _NO_NUMBER


def _complaint_of_text(url: str) -> str | None:
    if not url.strip():
        return "is empty; give it a URL or unset it"
    if url[0] in "'\"" or url[-1] in "'\"":
        return "has quotation marks around it that belong to a shell; remove them"
    if url != url.strip():
        return "has a space before or after it; remove it"
    if "://" not in url:
        return "is no URL; a URL begins with a scheme and ://"
    return None


def _complaint_of_scheme(url: str, known: dict[str, Driver]) -> str | None:
    scheme = url.partition("://")[0].lower()
    if scheme in known:
        return None
    if scheme in _SQL:
        return "is the URL of a database, which belongs under SQL"
    if scheme in _KEY_VALUE:
        return "is the URL of a Redis, which belongs under REDIS"
    if driver := known.get(scheme.partition("+")[0]):
        return f"asks for a driver that is not supported; write {driver.scheme}://"
    close = near(scheme, known)
    schemes = f"did you mean {close}://" if close else "known are " + ", ".join(f"{name}://" for name in sorted(known))
    return f"has an unknown scheme; {schemes}"


def _parse_sql(url: str) -> URL | None:
    # SQLAlchemy's own parser: what it cannot read now it could not read later. Its complaints may quote the URL.
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def _missing_driver(url: str) -> Iterator[str]:
    driver = driver_of(url)
    if driver and any(find_spec(module) is None for module in driver.modules):
        yield f"needs {driver.package}, which is not installed: pip install 'wellwired[{driver.extra}]'"
