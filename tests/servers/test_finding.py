"""Tests of how a session finds its servers, and of what it says when there is none."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import KINDS, Missing, Servers, required
from tests.servers.private import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual ports answer to nobody."""
    for kind, recipe in KINDS.items():
        away = recipe.usual.replace(recipe.usual.rpartition(":")[2].partition("/")[0], str(free_port()))
        monkeypatch.setitem(KINDS, kind, dataclasses.replace(recipe, usual=away))  # type: ignore[type-var]


@pytest.fixture
def session() -> Iterator[Servers]:
    """A session of its own that no variable speaks to."""
    servers = Servers({})
    yield servers
    servers.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_started_where_none_runs(kind: str, nothing_runs: None, session: Servers) -> None:
    """Without a running server the installed one is started, once, and ends with the session."""
    try:
        found = session.find(kind)
    except Missing as missing:
        pytest.skip(str(missing))
    KINDS[kind].ping(found.url)
    assert found.how.startswith("started on 127.0.0.1:")
    assert session.find(kind) is found
    session.close()
    with pytest.raises(Exception, match=r"(?i)refused|connect"):
        KINDS[kind].ping(found.url)


def test_a_named_server_is_never_replaced() -> None:
    """A server named by its variable that does not answer is missing, and the reason shows no password."""
    url = f"postgresql+psycopg://ada:hunter2@127.0.0.1:{free_port()}/x"
    with pytest.raises(Missing, match="WELLWIRED_TEST_POSTGRESQL_URL leads to 127") as caught:
        Servers({"WELLWIRED_TEST_POSTGRESQL_URL": url}).find("postgresql")
    assert "hunter2" not in str(caught.value)


def test_none_does_without() -> None:
    """The value `none` keeps a run from looking for a server."""
    with pytest.raises(Missing, match="is none"):
        Servers({"WELLWIRED_TEST_MARIADB_URL": "none"}).find("mariadb")


def test_what_is_not_installed_is_missing(
    nothing_runs: None, session: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names the program that was looked for."""
    monkeypatch.setattr("tests.servers.recipes.shutil.which", lambda name, path: None)
    with pytest.raises(Missing, match="postgres is not installed"):
        session.find("postgresql")
    assert session.plan("redis") == "none: redis-server or valkey-server is not installed"


@pytest.mark.parametrize(
    ("value", "kinds"),
    [("", set()), ("all", set(KINDS)), ("redis", {"redis"}), ("redis, mariadb", {"redis", "mariadb"})],
)
def test_required_kinds(value: str, kinds: set[str]) -> None:
    """The variable names kinds, or all of them."""
    assert required({"WELLWIRED_TEST_REQUIRE": value}) == kinds


def _run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text("def test_one(mariadb_url): pass\n")
    (folder / "conftest.py").write_text("from tests.conftest import *\nfrom tests.conftest import _databases\n")
    command = [sys.executable, "-m", "pytest", "-rsf", "-p", "no:cacheprovider", str(folder), f"--rootdir={folder}"]
    markers = ["-o", "markers=mariadb\npostgresql\nredis", "--strict-markers"]
    environment = {**os.environ, "WELLWIRED_TEST_MARIADB_URL": "none", "WELLWIRED_TEST_REQUIRE": "", **environ}
    return subprocess.run([*command, *markers], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_missing_server_skips_with_its_reason(tmp_path: Path) -> None:
    """A run that requires nothing says in its summary what it did without."""
    done = _run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mariadb: none: WELLWIRED_TEST_MARIADB_URL is none" in done.stdout
    assert "1 skipped" in done.stdout and "server mariadb: none" in done.stdout


def test_a_missing_server_fails_the_run_that_requires_it(tmp_path: Path) -> None:
    """With WELLWIRED_TEST_REQUIRE=all nothing is skipped for want of a server."""
    done = _run(tmp_path, WELLWIRED_TEST_REQUIRE="all")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mariadb is required by WELLWIRED_TEST_REQUIRE and there is none" in done.stdout


def test_an_unknown_requirement_is_refused(tmp_path: Path) -> None:
    """A misspelt kind must not pass for one that is there."""
    done = _run(tmp_path, WELLWIRED_TEST_REQUIRE="mysql")
    assert done.returncode != 0
    assert "WELLWIRED_TEST_REQUIRE names ['mysql']" in done.stdout + done.stderr
