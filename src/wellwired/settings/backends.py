"""The groups of settings about what the library connects to: databases and Redis servers, each with its pool.

A name such as ``main`` is the key of a group, not a part of it: ``WELLWIRED__SQL__MAIN__URL`` is the URL of
``sql.main``. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from wellwired.settings._section import OptionalSeconds, Seconds, Section, decoded, fault, none_word
from wellwired.settings.names import Dotted
from wellwired.settings.tls import TLSSettings
from wellwired.settings.urls import complaints_of_redis_url, complaints_of_sql_url, driver_of

__all__ = ["RedisSettings", "SQLSettings"]


def _url_check(complaints_of: Callable[[str], Iterator[str]]) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        if complaints := list(complaints_of(url.get_secret_value())):
            raise fault("; ".join(complaints))
        return url

    return AfterValidator(check)


def _word_list(value: Any) -> Any:
    """A list that was written as JSON or as words with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return decoded(value)
    return [word.strip() for word in value.split(",") if word.strip()]


SQLURL = Annotated[SecretStr, _url_check(complaints_of_sql_url)]
RedisURL = Annotated[SecretStr, _url_check(complaints_of_redis_url)]
Targets = Annotated[tuple[Dotted, ...], NoDecode, BeforeValidator(_word_list)]
IsolationLevel = Literal["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


class SQLSettings(Section):
    """One database and its pool.

    Args:
        url: as SQLAlchemy reads it. ``mysql://``, ``mariadb://`` and ``postgresql://`` take PyMySQL and psycopg.
        targets: further names under which writes reach it, beside ``sql.<name>``.
        pool_size: connections that are kept.
        max_overflow: connections beyond them that are opened under load and then closed.
        pool_timeout: seconds to wait for a connection of the pool.
        pool_recycle: seconds after which a connection is not used again, or None.
        connect_timeout: seconds for a connection to be made.
        socket_timeout: seconds without an answer after which a server counts as lost; the driver's, as a last resort.
        statement_timeout: seconds after which the server gives up a statement, or None (PostgreSQL and MariaDB).
        lock_timeout: seconds to wait for a lock, or None for the server's own; SQLite waits 5 seconds then, as Python's
            driver does, or `socket_timeout` if that is less.
        pre_ping: whether a connection that was idle is tried before it is used.
        isolation_level: of every transaction, or None for the server's own.
        tls: how to talk TLS, or None for what the driver does by itself.
    """

    url: SQLURL
    targets: Targets = ()
    pool_size: int = Field(default=5, ge=1)
    max_overflow: int = Field(default=10, ge=0)
    pool_timeout: Seconds = 5.0
    pool_recycle: OptionalSeconds = 1800.0
    connect_timeout: Seconds = 3.0
    socket_timeout: Seconds = 30.0
    statement_timeout: OptionalSeconds = None
    lock_timeout: OptionalSeconds = None
    pre_ping: bool = True
    isolation_level: IsolationLevel | None = None
    tls: TLSSettings | None = None

    @field_validator("url")
    @classmethod
    def _folder_is_there(cls, url: SecretStr) -> SecretStr:
        if _dialect(url) == "sqlite":
            path = url.get_secret_value().partition(":///")[2].partition("?")[0]
            if path and path != ":memory:" and not path.startswith("file:") and not Path(path).parent.is_dir():
                raise fault("names a file in a folder that does not exist")
        return url

    @field_validator("isolation_level", mode="before")
    @classmethod
    def _spell_level(cls, level: Any) -> Any:
        level = none_word(level)
        return level.strip().upper().replace("_", " ").replace("-", " ") if isinstance(level, str) else level

    @field_validator("isolation_level")
    @classmethod
    def _level_exists(cls, level: str | None, info: ValidationInfo) -> str | None:
        known = level in (None, "SERIALIZABLE", "READ UNCOMMITTED")
        if not known and "url" in info.data and _dialect(info.data["url"]) == "sqlite":
            raise fault("is a level that SQLite does not have; leave it out")
        return level

    @field_validator("tls")
    @classmethod
    def _tls_is_possible(cls, tls: TLSSettings | None, info: ValidationInfo) -> TLSSettings | None:
        if tls is not None and "url" in info.data:
            url: str = info.data["url"].get_secret_value()
            if _dialect(info.data["url"]) == "sqlite":
                raise fault("is set, but SQLite talks to no server; remove it")
            if _dialect(info.data["url"]) == "postgresql" and tls.verify == "ca" and tls.ca is None:
                raise fault("checks no name and trusts every authority of the system, which libpq refuses; set CA")
            if "ssl" in url.partition("?")[2].lower():
                raise fault("is set, and the URL has options of its own about TLS; keep one of them")
        return tls


class RedisSettings(Section):
    """One Redis and its pool.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://``, or ``memory://`` for one inside this process.
        targets: further names under which writes reach it, beside ``redis.<name>``.
        pool_size: connections at most.
        pool_timeout: seconds to wait for a connection of the pool.
        connect_timeout: seconds for a connection to be made.
        socket_timeout: seconds to wait for an answer.
        health_check_interval: seconds that a connection may idle before it is tried again; 0 never tries.
        client_name: what the server lists its connections as.
        fence: whether handlers that ask for it have Redis look at the deadline before it does what they queued. It is
            done by a script; turn it off for a user who may not run scripts.
        tls: what ``rediss://`` checks; None checks all against the authorities that the system trusts.
    """

    url: RedisURL
    targets: Targets = ()
    pool_size: int = Field(default=50, ge=1)
    pool_timeout: Seconds = 5.0
    connect_timeout: Seconds = 3.0
    socket_timeout: Seconds = 5.0
    health_check_interval: float = Field(default=30.0, ge=0)
    client_name: str | None = Field(default=None, pattern=r"^[!-~]+$")
    fence: bool = True
    tls: TLSSettings | None = None

    @field_validator("tls")
    @classmethod
    def _tls_is_possible(cls, tls: TLSSettings | None, info: ValidationInfo) -> TLSSettings | None:
        url = info.data.get("url")
        if tls is not None and url is not None and not url.get_secret_value().lower().startswith("rediss://"):
            raise fault("is set, but the URL is not one with TLS; write rediss://")
        return tls


def _dialect(url: SecretStr) -> str:
    driver = driver_of(url.get_secret_value())
    return driver.dialect if driver else ""
