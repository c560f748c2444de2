"""Environments that are wrong, each in one way or two, and what their report must say.

A row names the environment, a variable (or file) that some line must begin with, and a piece that the same line must
have: the suggestion, if there is one to make. `SECRET` stands in most of them, and may be in no report.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BAD", "GOOD", "SECRET", "Bad"]

SECRET = "hunter2Zq"
URL = f"postgresql://ada:{SECRET}@db.example/shop"
W = "WELLWIRED__"


class Bad(NamedTuple):
    """One wrong environment."""

    what: str
    environ: dict[str, str]
    label: str
    text: str
    lines: int = 1


def _w(**variables: str) -> dict[str, str]:
    return {f"{W}{name}": value for name, value in variables.items()}


def _store(layers: str, **more: str) -> dict[str, str]:
    return _w(SQL__MAIN__URL="sqlite://", REDIS__CACHE__URL="memory://", STORES__USERS__LAYERS=layers, **more)


NAMES = [
    Bad("section misspelt", _w(SQLL__MAIN__URL=URL), f"{W}SQLL__MAIN__URL", f"did you mean {W}SQL__MAIN__URL?"),
    Bad("section in plural", _w(METRIC__ENABLED=SECRET), f"{W}METRIC__ENABLED", f"did you mean {W}METRICS__ENABLED?"),
    Bad("section unlike any", _w(QUEUE__URL=URL), f"{W}QUEUE__URL", "known here are LOG, METRICS, REDIS, SQL"),
    Bad("nothing after the prefix", _w(**{"": SECRET}), W, "unknown setting"),
    Bad("setting misspelt", _w(SQL__MAIN__URLL=URL), f"{W}SQL__MAIN__URLL", f"did you mean {W}SQL__MAIN__URL?"),
    Bad(
        "setting run together",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__POOLSIZE=SECRET),
        f"{W}SQL__MAIN__POOLSIZE",
        f"did you mean {W}SQL__MAIN__POOL_SIZE?",
    ),
    Bad("setting in another section", _w(LOG__ENABLED=SECRET), f"{W}LOG__ENABLED", "known here are FORMAT, LEVEL"),
    Bad("one underscore after the section", _w(LOG_LEVEL=SECRET), f"{W}LOG_LEVEL", f"did you mean {W}LOG__LEVEL?"),
    Bad("single underscores", _w(SQL_MAIN_URL=URL), f"{W}SQL_MAIN_URL", f"did you mean {W}SQL__MAIN__URL?"),
    Bad("single underscore at the end", _w(SQL__MAIN_URL=URL), f"{W}SQL__MAIN_URL", f"did you mean {W}SQL__MAIN__URL?"),
    Bad(
        "prefix with one underscore",
        {"WELLWIRED_SQL__MAIN__URL": URL},
        "WELLWIRED_SQL__MAIN__URL",
        f"{W}SQL__MAIN__URL?",
    ),
    Bad(
        "prefix and all with one",
        {"WELLWIRED_LOG_LEVEL": SECRET},
        "WELLWIRED_LOG_LEVEL",
        f"did you mean {W}LOG__LEVEL?",
    ),
    Bad(
        "prefix misspelt",
        {"WELWIRED__SQL__MAIN__URL": URL},
        "WELWIRED__SQL__MAIN__URL",
        f"did you mean {W}SQL__MAIN__URL?",
    ),
    Bad("prefix with a letter more", {"WELLWIREDD__LOG__LEVEL": "x"}, "WELLWIREDD__LOG__LEVEL", f"{W}LOG__LEVEL?"),
    Bad("below a value", _w(WRITES__TIMEOUT__TOTAL="5"), f"{W}WRITES__TIMEOUT__TOTAL", "TIMEOUT is a single value"),
    Bad(
        "below a list",
        _store("sql.main!", STORES__USERS__LAYERS__0__TTL="5"),
        f"{W}STORES__USERS__LAYERS__0__TTL",
        "is a list",
    ),
    Bad("a name that is no name", _w(**{"SQL__MAIN-DB__URL": "sqlite://"}), f"{W}SQL__MAIN-DB__URL", "is no name"),
    Bad("an empty name", _w(SQL____URL="sqlite://"), f"{W}SQL____URL", "is no name"),
    Bad("a digit first", _w(SQL__1ST__URL="sqlite://"), f"{W}SQL__1ST__URL", "beginning with a letter"),
    Bad(
        "given twice by case",
        {f"{W}LOG__LEVEL": "INFO", "wellwired__log__level": "DEBUG"},
        "wellwired__log__level",
        f"given twice: {W}LOG__LEVEL",
    ),
]

JSON = [
    Bad("group without JSON", _w(SQL__MAIN=URL), f"{W}SQL__MAIN", f"did you mean {W}SQL__MAIN__URL?"),
    Bad("section without JSON", _w(REDIS="redis://x"), f"{W}REDIS", f"did you mean {W}REDIS__<NAME>__URL?"),
    Bad("store without LAYERS", _w(STORES__USERS="memory:60"), f"{W}STORES__USERS", f"{W}STORES__USERS__LAYERS?"),
    Bad(
        "JSON cut off",
        _w(SQL=f'{{"main": {{"url": "{URL}"'),
        f"{W}SQL",
        "not valid JSON: expecting ',' delimiter at line 1",
    ),
    Bad("JSON with a comma too many", _w(LOG='{"level": "INFO",}'), f"{W}LOG", "at line 1 column"),
    Bad("JSON on three lines", _w(LOG='{\n"level": "INFO"\n"format"}'), f"{W}LOG", "at line 3 column 1"),
    Bad("JSON with single quotes", _w(LOG=f"{{'level': '{SECRET}'}}"), f"{W}LOG", "double quotes at line 1 column 2"),
    Bad("JSON with a name twice", _w(SQL=f'{{"a": {{"url": "{URL}"}}, "a": {{}}}}'), f"{W}SQL", "same name twice"),
    Bad("JSON with NaN", _w(WRITES='{"timeout": NaN}'), f"{W}WRITES", "NaN"),
    Bad("JSON nested too deep", _w(LOG='{"level": ' + "[" * 100_000), f"{W}LOG", "nesting too deep"),
    Bad("JSON name in upper case", _w(SQL='{"Main": {"url": "sqlite://"}}'), f"{W}SQL (at Main)", "write main"),
    Bad("JSON name with two underscores", _w(SQL='{"a__b": {"url": "sqlite://"}}'), f"{W}SQL (at a__b)", "write a_b"),
    Bad("JSON name with a dot", _w(SQL='{"a.b": {"url": "sqlite://"}}'), f"{W}SQL (at a.b)", "write a_b"),
    Bad("JSON name that is a URL", _w(SQL=f'{{"{URL}": {{"url": "sqlite://"}}}}'), f"{W}SQL (at (a name", "is no name"),
    Bad(
        "JSON with an unknown setting",
        _w(SQL='{"main": {"url": "sqlite://", "pool": 1}}'),
        f"{W}SQL (at main.pool)",
        "unknown",
    ),
    Bad("JSON with a misspelt setting", _w(LOG='{"levle": "INFO"}'), f"{W}LOG (at levle)", "did you mean level?"),
    Bad(
        "JSON without a URL",
        _w(SQL='{"main": {"pool_size": 3}}'),
        f"{W}SQL__MAIN__URL",
        f"set so far: {W}SQL (at main)",
    ),
    Bad(
        "JSON of another kind",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__TARGETS='["a", 3]'),
        f"{W}SQL__MAIN__TARGETS (at [1])",
        "is not text",
    ),
]

URLS = [
    Bad("URL missing", _w(SQL__MAIN__POOL_SIZE="3"), f"{W}SQL__MAIN__URL", "required but not set; set so far"),
    Bad("URL empty", _w(SQL__MAIN__URL=""), f"{W}SQL__MAIN__URL", "is empty"),
    Bad(
        "URL without a scheme", _w(SQL__MAIN__URL=f"ada:{SECRET}@db/shop"), f"{W}SQL__MAIN__URL", "begins with a scheme"
    ),
    Bad(
        "scheme misspelt",
        _w(SQL__MAIN__URL=URL.replace("postgresql", "postgressql")),
        f"{W}SQL__MAIN__URL",
        "did you mean postgresql://",
    ),
    Bad("scheme of no database", _w(SQL__MAIN__URL=f"https://{SECRET}/"), f"{W}SQL__MAIN__URL", "unknown scheme"),
    Bad(
        "driver of another kind",
        _w(SQL__MAIN__URL=f"mysql+mysqldb://a:{SECRET}@h/d"),
        f"{W}SQL__MAIN__URL",
        "write mysql+pymysql://",
    ),
    Bad(
        "asynchronous driver",
        _w(SQL__MAIN__URL=f"postgresql+asyncpg://a:{SECRET}@h/d"),
        f"{W}SQL__MAIN__URL",
        "postgresql+psycopg://",
    ),
    Bad("Redis under SQL", _w(SQL__MAIN__URL=f"redis://:{SECRET}@h/0"), f"{W}SQL__MAIN__URL", "belongs under REDIS"),
    Bad("database under REDIS", _w(REDIS__CACHE__URL=URL), f"{W}REDIS__CACHE__URL", "belongs under SQL"),
    Bad(
        "port not a number",
        _w(SQL__MAIN__URL=f"postgresql://a:{SECRET}@h:port/d"),
        f"{W}SQL__MAIN__URL",
        "port must be a number",
    ),
    Bad(
        "port too high",
        _w(SQL__MAIN__URL=f"postgresql://a:{SECRET}@h:70000/d"),
        f"{W}SQL__MAIN__URL",
        "between 1 and 65535",
    ),
    Bad("@ in a password", _w(SQL__MAIN__URL=f"postgresql://a:pa@{SECRET}@h/d"), f"{W}SQL__MAIN__URL", "write it %40"),
    Bad("URL in quotation marks", _w(SQL__MAIN__URL=f"'{URL}'"), f"{W}SQL__MAIN__URL", "quotation marks"),
    Bad("URL with a space before", _w(SQL__MAIN__URL=f" {URL}"), f"{W}SQL__MAIN__URL", "space before or after"),
    Bad("SQLite with two slashes", _w(SQL__MAIN__URL="sqlite://data.db"), f"{W}SQL__MAIN__URL", "three slashes"),
    Bad(
        "SQLite in no folder",
        _w(SQL__MAIN__URL="sqlite:///nowhere/data.db"),
        f"{W}SQL__MAIN__URL",
        "folder that does not exist",
    ),
    Bad(
        "Redis port",
        _w(REDIS__CACHE__URL=f"redis://:{SECRET}@h:abc/0"),
        f"{W}REDIS__CACHE__URL",
        "port must be a number",
    ),
    Bad(
        "Redis database",
        _w(REDIS__CACHE__URL=f"redis://:{SECRET}@h/cache"),
        f"{W}REDIS__CACHE__URL",
        "database that is not a number",
    ),
    Bad("Redis without a host", _w(REDIS__CACHE__URL="redis:///0"), f"{W}REDIS__CACHE__URL", "names no host"),
    Bad(
        "Redis option in the URL",
        _w(REDIS__CACHE__URL="redis://h/0?socket_timeout=3"),
        f"{W}REDIS__CACHE__URL",
        "settings of their own",
    ),
    Bad(
        "/ in a Redis password",
        _w(REDIS__CACHE__URL=f"redis://:ab/{SECRET}@h/0"),
        f"{W}REDIS__CACHE__URL",
        "cannot be read",
    ),
]

VALUES = [
    Bad(
        "size not a number",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__POOL_SIZE=SECRET),
        f"{W}SQL__MAIN__POOL_SIZE",
        "not a whole number",
    ),
    Bad(
        "size of none",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__POOL_SIZE="0"),
        f"{W}SQL__MAIN__POOL_SIZE",
        "must be 1 or more",
    ),
    Bad("time with a unit", _w(WRITES__TIMEOUT="5s"), f"{W}WRITES__TIMEOUT", "is not a number"),
    Bad("time below zero", _w(WRITES__TIMEOUT="-1"), f"{W}WRITES__TIMEOUT", "must be more than 0"),
    Bad("time without end", _w(WRITES__TIMEOUT="inf"), f"{W}WRITES__TIMEOUT", "finite"),
    Bad("time empty", _w(WRITES__TIMEOUT=""), f"{W}WRITES__TIMEOUT", "is empty"),
    Bad("neither true nor false", _w(METRICS__ENABLED=SECRET), f"{W}METRICS__ENABLED", "neither true nor false"),
    Bad("level of no log", _w(LOG__LEVEL=SECRET), f"{W}LOG__LEVEL", "'DEBUG', 'INFO'"),
    Bad("format of no log", _w(LOG__FORMAT="xml"), f"{W}LOG__FORMAT", "'json' or 'console'"),
    Bad("metrics with a hyphen", _w(METRICS__NAMESPACE=f"{SECRET}-x"), f"{W}METRICS__NAMESPACE", "not allowed here"),
    Bad(
        "attempt longer than all",
        _w(WRITES__TIMEOUT="2", WRITES__ATTEMPT_TIMEOUT="3"),
        f"{W}WRITES__ATTEMPT_TIMEOUT",
        "longer than TIMEOUT",
    ),
    Bad(
        "pause capped below its start",
        _w(WRITES__BACKOFF_BASE="9"),
        f"{W}WRITES__BACKOFF_CAP",
        "shorter than BACKOFF_BASE",
    ),
    Bad(
        "retry that cannot be paid",
        _w(WRITES__BUDGET__CAPACITY="9"),
        f"{W}WRITES__BUDGET__HEAVY_COST",
        "is more than CAPACITY",
    ),
    Bad(
        "share above all",
        _w(WRITES__BREAKER__FAILURES="50"),
        f"{W}WRITES__BREAKER__FAILURES",
        "must be 1.0 or less",
    ),
    Bad(
        "letters in no folder",
        _w(WRITES__DEAD_LETTERS__PATH=f"/nowhere/{SECRET}/letters.jsonl"),
        f"{W}WRITES__DEAD_LETTERS__PATH",
        "folder that does not exist",
    ),
    Bad(
        "letters in two places",
        _w(SQL__MAIN__URL="sqlite://", WRITES__DEAD_LETTERS__PATH="letters.jsonl", WRITES__DEAD_LETTERS__SQL="main"),
        f"{W}WRITES__DEAD_LETTERS__SQL",
        "cannot be set beside PATH",
    ),
    Bad(
        "letters in an unknown database",
        _w(SQL__LETTERS__URL="sqlite://", WRITES__DEAD_LETTERS__SQL="leters"),
        f"{W}WRITES__DEAD_LETTERS__SQL",
        "did you mean letters?",
    ),
    Bad(
        "letters of no error",
        _w(WRITES__DEAD_LETTERS__CODES=f"BACKEND,{SECRET}"),
        f"{W}WRITES__DEAD_LETTERS__CODES",
        "'BACKEND'",
    ),
    Bad(
        "isolation of no database",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__ISOLATION_LEVEL=SECRET),
        f"{W}SQL__MAIN__ISOLATION_LEVEL",
        "'SERIALIZABLE'",
    ),
    Bad(
        "isolation not of SQLite",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__ISOLATION_LEVEL="read committed"),
        f"{W}SQL__MAIN__ISOLATION_LEVEL",
        "SQLite does not have",
    ),
    Bad(
        "TLS file missing",
        _w(SQL__MAIN__URL=URL, SQL__MAIN__TLS__CA=f"/nowhere/{SECRET}.pem"),
        f"{W}SQL__MAIN__TLS__CA",
        "cannot be read: no such file",
    ),
    Bad(
        "TLS check unknown",
        _w(SQL__MAIN__URL=URL, SQL__MAIN__TLS__VERIFY="yes"),
        f"{W}SQL__MAIN__TLS__VERIFY",
        "'full', 'ca' or 'none'",
    ),
    Bad(
        "TLS to SQLite",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__TLS__VERIFY="ca"),
        f"{W}SQL__MAIN__TLS",
        "SQLite talks to no server",
    ),
    Bad(
        "TLS to plain Redis",
        _w(REDIS__CACHE__URL="redis://h", REDIS__CACHE__TLS__VERIFY="ca"),
        f"{W}REDIS__CACHE__TLS",
        "write rediss://",
    ),
    Bad(
        "TLS twice",
        _w(SQL__MAIN__URL=f"{URL}?sslmode=require", SQL__MAIN__TLS__VERIFY="full"),
        f"{W}SQL__MAIN__TLS",
        "keep one of them",
    ),
    Bad(
        "target that is no name",
        _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__TARGETS="Mysql Main"),
        f"{W}SQL__MAIN__TARGETS",
        "is no name",
    ),
]

LAYERS = [
    Bad("layers empty", _store(""), f"{W}STORES__USERS__LAYERS", "is empty"),
    Bad("layers missing", _w(STORES__USERS__NAMESPACE="u"), f"{W}STORES__USERS__LAYERS", "required but not set"),
    Bad(
        "database not configured",
        _store("sql.mian!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 1 names a database that is not configured; did you mean sql.main?",
    ),
    Bad(
        "Redis not configured",
        _w(SQL__MAIN__URL="sqlite://", STORES__USERS__LAYERS="redis.cache:6,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        f"set {W}REDIS__<NAME>__URL",
    ),
    Bad(
        "Redis unlike any",
        _store(f"redis.{SECRET.lower()}:6,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "configured are redis.cache",
    ),
    Bad(
        "kind left out",
        _store("cache:6,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 1 is no layer that is known; did you mean redis.cache?",
    ),
    Bad(
        "kind of no layer",
        _store(f"{SECRET.lower()}:6,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "a layer is memory, redis.<name> or sql.<name>",
    ),
    Bad("no primary", _store("memory:60,sql.main"), f"{W}STORES__USERS__LAYERS", "has no primary layer"),
    Bad(
        "the same layer twice",
        _store("memory:60,memory:90,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 2 is the same as layer 1",
    ),
    Bad(
        "TTL of zero",
        _store("memory:0,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 1 has a TTL that is not positive",
    ),
    Bad(
        "TTL below zero",
        _store("memory:-5,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 1 has a TTL that is not positive",
    ),
    Bad(
        "TTL with a unit", _store("memory:60s,sql.main!"), f"{W}STORES__USERS__LAYERS", "layer 1 has a TTL with a unit"
    ),
    Bad(
        "TTL in milliseconds above seconds",
        _store("memory:60000,redis.cache:3600,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "layer 1 has a longer TTL than layer 2",
    ),
    Bad("mark before the TTL", _store("memory:60,redis.cache!:90"), f"{W}STORES__USERS__LAYERS", "write it last"),
    Bad("a comma too many", _store("memory:60,,sql.main!"), f"{W}STORES__USERS__LAYERS", "layer 2 is empty"),
    Bad("a URL for a layer", _store(f"memory:60,{URL}"), f"{W}STORES__USERS__LAYERS", "layer 2 is a URL"),
    Bad("a layer in upper case", _store("Memory:60,sql.main!"), f"{W}STORES__USERS__LAYERS", "in lower case"),
    Bad(
        "two layers wrong",
        _store("memory:1h,redis.Cache,sql.main!"),
        f"{W}STORES__USERS__LAYERS",
        "; layer 2 has no valid name",
    ),
    Bad("JSON layers cut off", _store('[{"name": "memory"'), f"{W}STORES__USERS__LAYERS", "not valid JSON"),
    Bad(
        "JSON layer without a name",
        _store('[{"ttl": 5}, {"name": "sql.main", "primary": true}]'),
        f"{W}STORES__USERS__LAYERS (at [0])",
        "lacks name",
    ),
    Bad(
        "JSON layer option misspelt",
        _store('[{"name": "sql.main", "primry": true}]'),
        f"{W}STORES__USERS__LAYERS (at [0].primry)",
        "did you mean primary?",
    ),
    Bad(
        "option of another kind",
        _store('[{"name": "sql.main", "primary": true, "capacity": 5}]'),
        f"{W}STORES__USERS__LAYERS (at [0].capacity)",
        "option of memory layers",
    ),
    Bad(
        "JSON TTL of zero",
        _store('[{"name": "sql.main", "primary": true, "ttl": 0}]'),
        f"{W}STORES__USERS__LAYERS (at [0].ttl)",
        "must be more than 0",
    ),
    Bad(
        "target of somebody else",
        _w(SQL__A__URL="sqlite://", SQL__B__URL="sqlite://", SQL__B__TARGETS="sql.a"),
        f"{W}SQL__B__TARGETS",
        "already a name of sql.a",
    ),
    Bad(
        "target given to two",
        _w(SQL__A__URL="sqlite://", SQL__A__TARGETS="x", SQL__B__URL="sqlite://", SQL__B__TARGETS="y,x"),
        f"{W}SQL__B__TARGETS",
        "target 2 is already a name of sql.a",
    ),
    Bad(
        "target given twice to one",
        _w(SQL__A__URL="sqlite://", SQL__A__TARGETS="x,x"),
        f"{W}SQL__A__TARGETS",
        "target 2 is already",
    ),
]

MANY = [
    Bad(
        "everything at once",
        _w(
            SQL__MAIN__URL=f"postgresql://a:{SECRET}@h:x/d",
            SQL__MAIN__POOL_SIZE=SECRET,
            SQL__AUDIT__URLL=URL,
            REDIS="{",
            STORES__USERS__LAYERS="memory:60,sql.mian!",
            LOGS__LEVEL=SECRET,
            WRITES__ATTEMPTS="0",
        ),
        f"{W}STORES__USERS__LAYERS",
        "did you mean sql.main?",
        7,
    ),
    Bad(
        "a broken parent does not blame what it left out",
        _w(SQL=f'{{"main": {URL}', SQL__MAIN__POOL_SIZE="5", STORES__USERS__LAYERS="memory,sql.main!"),
        f"{W}SQL",
        "not valid JSON",
    ),
    Bad(
        "a broken section does not make its databases unknown",
        _w(SQL=f'{{"main": {URL}', STORES__USERS__LAYERS="memory,sql.main!"),
        f"{W}SQL",
        "not valid JSON",
    ),
]

BAD = [*NAMES, *JSON, *URLS, *VALUES, *LAYERS, *MANY]

GOOD = [
    ("nothing", {}),
    ("a database and a store", _store("memory:60,redis.cache:3600,sql.main!")),
    ("lower case", {name.lower(): value for name, value in _store("memory,sql.main!").items()}),
    ("JSON for all", _w(SQL='{"main": {"url": "sqlite://", "pool_size": 3}}', STORES='{"u": {"layers": "sql.main!"}}')),
    ("JSON layers", _store('[{"name": "memory", "ttl": 60, "share": true}, {"name": "sql.main", "primary": true}]')),
    ("layers as a list of words", _store('["memory:60", "sql.main!"]')),
    ("the whole tree of TLS", _w(SQL__MAIN__URL=URL, SQL__MAIN__TLS__VERIFY="none")),
    (
        "other programs' variables",
        {
            "WELLWIRED": "1",
            "WELLWIRED_TEST_REQUIRE": "all",
            "WELLWIRED_TEST_REDIS_URL": "x",
            "WELL__SQL__X": "1",
            "SQL__MAIN__URL": "x",
            "PATH": "/bin",
        },
    ),
    ("none for no limit", _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__POOL_RECYCLE="none")),
    ("Heroku's scheme", _w(SQL__MAIN__URL=URL.replace("postgresql", "postgres"))),
    ("a socket", _w(REDIS__CACHE__URL="unix:///run/redis.sock?db=1")),
    ("two names of one", _w(SQL__MAIN__URL="sqlite://", SQL__MAIN__TARGETS="mysql.main, legacy")),
    ("a level in lower case", _w(LOG__LEVEL="debug", LOG__FORMAT="console")),
    ("an encoded password", _w(SQL__MAIN__URL=f"mysql://a:p%40%2F{SECRET}@h:3306/d")),
]
