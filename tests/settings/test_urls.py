"""Tests of what the URLs of databases and Redis servers may be."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from wellwired.settings import urls
from wellwired.settings.urls import complaints_of_redis_url, complaints_of_sql_url, driver_of

# Before a test changes the folder that a relative entry starts from.
PATH = [str(Path(part).resolve()) for part in sys.path]
PARTS = st.text(st.sampled_from("ab9:/@?#%[]. \n+é"), max_size=12)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("sqlite://", "sqlite+pysqlite"),
        ("mysql://h/d", "mysql+pymysql"),
        ("MYSQL+PyMySQL://h/d", "mysql+pymysql"),
        ("mariadb://h/d", "mariadb+pymysql"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("postgresql://h/d", "postgresql+psycopg"),
        ("rediss://h", "rediss"),
        ("memory://", "memory"),
    ],
)
def test_a_scheme_has_one_driver(url: str, scheme: str) -> None:
    """Plain schemes take the drivers that the library supports."""
    driver = driver_of(url)
    assert driver is not None and driver.scheme == scheme


def test_a_foreign_scheme_has_none() -> None:
    """What is not known is None, not a guess."""
    assert driver_of("oracle://h") is None and driver_of("") is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite+pysqlite:///file:x?mode=memory&uri=true",
        "postgresql+psycopg://u@h/d",
        "postgresql:///d?host=/run/postgresql",
        "mysql://u:p%40%2F@[::1]:3306/d?charset=utf8mb4",
    ],
)
def test_right_database_urls(url: str) -> None:
    """Files, sockets, IPv6 and encoded passwords are fine."""
    assert list(complaints_of_sql_url(url)) == []


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:6380/2?client_name=x", "unix:///s?db=2", "memory://", "memory://shared"]
)
def test_right_redis_urls(url: str) -> None:
    """Servers, sockets, and the one in the process."""
    assert list(complaints_of_redis_url(url)) == []


@pytest.mark.parametrize(
    "url",
    [
        "memory://x/0",
        "unix://",
        "redis://h:0",
        "redis://h:99999",
        "redis://[::1",
        "redis://h/0/1",
        "unix:///s?db=x",
        "kafka://h",
    ],
)
def test_wrong_redis_urls(url: str) -> None:
    """Each has one complaint."""
    assert len(list(complaints_of_redis_url(url))) == 1


@given(
    st.sampled_from(["postgresql", "mysql", "sqlite", "redis", "rediss", "unix", "memory", "x"]), PARTS, PARTS, PARTS
)
def test_no_url_breaks_the_check_or_is_quoted(scheme: str, user: str, secret: str, host: str) -> None:
    """Any text is judged without an exception, and the judgement repeats none of it."""
    url = f"{scheme}://{user}:Zq{secret}Zq@{host}"
    for complaint in (*complaints_of_sql_url(url), *complaints_of_redis_url(url)):
        assert "Zq" not in complaint


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=20))
def test_an_accepted_url_has_its_password_where_it_belongs(password: str) -> None:
    """However a password is written, either it is read as it stands or the URL is refused."""
    url = f"postgresql://ada:{password}@db.example:5432/shop"
    if not list(complaints_of_sql_url(url)):
        parsed = make_url(url)
        assert (parsed.host, parsed.port, parsed.database) == ("db.example", 5432, "shop")


@pytest.mark.parametrize(
    ("module", "url", "package", "extra"),
    [
        ("pymysql", "mysql://h/d", "PyMySQL", "mysql"),
        ("psycopg", "postgresql://h/d", "psycopg", "postgresql"),
        ("fakeredis", "memory://", "fakeredis[lua]", "embedded"),
        ("lupa", "memory://", "fakeredis[lua]", "embedded"),
    ],
)
def test_a_missing_driver_is_named_with_its_extra(
    module: str, url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install is in the complaint."""
    monkeypatch.setattr(urls, "find_spec", lambda name: None if name == module else find_spec(name))
    complaints = list(complaints_of_redis_url(url) if url == "memory://" else complaints_of_sql_url(url))
    assert complaints == [f"needs {package}, which is not installed: pip install 'wellwired[{extra}]'"]


def test_no_driver_is_imported() -> None:
    """Judging a URL of every kind imports no driver, neither the supported ones nor redis-py."""
    script = (
        "import sys\n"
        "from wellwired.settings import Settings\n"
        "urls = ['mysql://h/d', 'mariadb://h/d', 'postgresql://h/d', 'sqlite://']\n"
        "Settings(_environ={}, sql={f'd{i}': {'url': url} for i, url in enumerate(urls)},\n"
        "         redis={'a': {'url': 'redis://h'}, 'b': {'url': 'memory://'}})\n"
        "print(sorted({'pymysql', 'psycopg', 'psycopg_binary', 'fakeredis', 'lupa', 'redis'} & set(sys.modules)))\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(PATH)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
