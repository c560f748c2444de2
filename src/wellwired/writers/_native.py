"""How each driver hides the backend's own code in its exceptions: the one place that knows.

SQLAlchemy wraps a driver's exception and keeps it as `orig`. Below that, SQLite has `sqlite_errorcode`; psycopg and
asyncpg have `sqlstate` and psycopg2 `pgcode`; the MySQL drivers have a number as first argument or as `errno`; and
redis-py keeps the first word of an error either in `status_code` or in the text, depending on the word.
"""

from __future__ import annotations

from typing import Any

from wellwired.writers._rules import Native

__all__ = ["login_trouble", "native_code", "redis_word", "shown_code"]


def native_code(error: BaseException) -> Native | None:
    """The SQL backend's code behind an exception, or None if it gave none.

    Args:
        error: a driver's exception, or SQLAlchemy's around it.
    """
    origin: Any = getattr(error, "orig", None) or error
    args: Any = getattr(origin, "args", ())
    # PyMySQL's dialect sometimes leaves one exception inside another.
    if args and isinstance(args[0], Exception):
        origin, args = args[0], getattr(args[0], "args", ())
    code = getattr(origin, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code
    for name in ("errno", "sqlstate", "pgcode"):
        # PyMySQL has an `sqlstate` too, which says less than its number.
        if name == "sqlstate" and args and type(args[0]) is int:
            break
        code = getattr(origin, name, None)
        if isinstance(code, (int, str)) and code:
            return code
    return args[0] if args and type(args[0]) is int and args[0] else None


def login_trouble(error: BaseException) -> str:
    """What is known of a connection that failed before there was a session, where the driver gives no code for it.

    libpq, and so psycopg, keeps the server's SQLSTATE to itself then. It does tell whether the server has asked for a
    password.

    Args:
        error: a driver's exception, or SQLAlchemy's around it.

    Returns:
        "permission" if a password was asked for and there was none to give; "login" if one was given, and what the
        server said then was no welcome; "" if nothing is known.
    """
    native = getattr(getattr(error, "orig", None) or error, "pgconn", None)
    if getattr(native, "needs_password", False) is True:
        return "permission"
    return "login" if getattr(native, "used_password", False) is True else ""


def shown_code(error: BaseException, native: Native | None) -> Native | None:
    """The code as people know it: SQLite's by its name, any other as it is.

    Args:
        error: the exception it came from.
        native: what `native_code` found.
    """
    name = getattr(getattr(error, "orig", None) or error, "sqlite_errorname", None)
    return name if isinstance(name, str) else native


def redis_word(error: BaseException) -> str | None:
    """The first word of a Redis error reply, or None if the error is no reply.

    The two texts below are the only ones read: they belong to replies that have no word of their own.

    Args:
        error: redis-py's exception.
    """
    text = str(error)
    if text.startswith("max number of clients"):
        return "MAXCLIENTS"
    code = getattr(error, "status_code", None)
    if isinstance(code, str) and code:
        return code
    # A command of a pipeline: redis-py puts its own words in front, and the reply at the end.
    if text.startswith("Command # "):
        text = text.rpartition("caused error: ")[2]
    word = text.split(" ", 1)[0]
    return word if word.isupper() and word.isalpha() else None
