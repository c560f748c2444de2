"""Tests of the servers that a test may kill, pause and restart."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
import sqlalchemy.exc as sa_exc
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import KINDS, PrivateServer
from tests.servers.private import descendants, free_port, state
from tests.servers.recipes import Recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["private_postgresql", "private_mariadb"])
def server(request: pytest.FixtureRequest) -> PrivateServer:
    """A running SQL server of this test's own."""
    started: PrivateServer = request.getfixturevalue(request.param)()
    return started


@pytest.fixture
def engine(server: PrivateServer) -> Iterator[sa.Engine]:
    """Connections to it, none kept."""
    engine = sa.create_engine(server.url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


def test_a_killed_server_comes_back_with_its_committed_data(server: PrivateServer, engine: sa.Engine) -> None:
    """After SIGKILL and a start the port, the URL and what was committed are the same, and the process is another."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (n INTEGER)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (7)"))
    url, pid = server.url, server.pid
    server.kill()
    assert not server.running
    with pytest.raises(sa_exc.OperationalError):
        engine.connect()
    server.start()
    assert server.url == url and server.pid != pid
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT n FROM kept")) == 7


def test_a_kill_breaks_the_connections_that_are_open(server: PrivateServer, engine: sa.Engine) -> None:
    """A client in the middle of a transaction learns of the server's death at its next statement."""
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        server.kill()
        with pytest.raises(sa_exc.OperationalError):
            connection.execute(sa.text("SELECT 1"))


def test_a_paused_server_is_silent_and_then_goes_on(private_redis: Callable[..., PrivateServer]) -> None:
    """While paused, connecting works and no answer comes; afterwards the same connection is answered."""
    server = private_redis()
    with redis.Redis(port=server.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()


def test_a_pause_freezes_every_process_of_the_server(private_postgresql: Callable[..., PrivateServer]) -> None:
    """PostgreSQL serves a connection from a process of its own, which must be frozen too."""
    server = private_postgresql()
    server.pause()
    states = [state(pid) for pid in (server.pid, *descendants(server.pid))]
    server.resume()
    assert states.count("T") > 3 and set(states) <= {"T", "Z"}


def test_a_stopped_server_starts_again(private_redis: Callable[..., PrivateServer]) -> None:
    """A server that shut down in good order has no process id, and starts again with its data."""
    server = private_redis()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", 1)
        server.stop()
        assert not server.running
        server.start()
        assert client.get("kept") == b"1"


def test_settings_reach_the_server(private_postgresql: Callable[..., PrivateServer]) -> None:
    """A keyword of the factory is a setting of the server."""
    engine = sa.create_engine(private_postgresql(max_connections="7").url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SHOW max_connections")) == "7"


def test_nothing_is_left_when_the_test_run_is_killed() -> None:
    """A run that dies by SIGKILL leaves neither a server nor its files."""
    script = (
        "import os, signal; from tests.servers import PrivateServer; server = PrivateServer('redis');"
        "print(server.home, server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    KINDS["redis"].binary()
    # The watcher holds our end of the pipe as well, so its end is the end of the output.
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    home, pid = done.stdout.split()
    assert not Path(home).exists()
    assert state(int(pid)) in ("gone", "Z")


def test_a_server_that_cannot_start_says_why(private_redis: Callable[..., PrivateServer]) -> None:
    """The error ends with the server's own log, and no process or file is left."""
    with pytest.raises(Exception, match=r"did not come up[\s\S]*(maxmemory|argument)"):
        private_redis(maxmemory="plenty")


@pytest.mark.parametrize("recipe", KINDS.values(), ids=KINDS)
def test_a_command_keeps_to_loopback(recipe: Recipe, tmp_path: Path) -> None:
    """No private server listens on a network."""
    command: Any = " ".join(recipe.command(tmp_path, free_port(), {}))
    assert "127.0.0.1" in command and "0.0.0.0" not in command
