"""How each kind of server is found, initialised and run: facts only; `private` and `finding` act on them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.servers.admin import execute, redis_client

__all__ = ["KINDS", "MariaDB", "Missing", "PostgreSQL", "Recipe", "Redis", "owner"]


class Missing(Exception):  # noqa: N818 - said of a server, not of a mistake
    """A server cannot be had; the text says why."""


class Recipe(Protocol):
    """What the kit must know about one kind of server."""

    @property
    def kind(self) -> str:
        """The word used in fixtures, markers and environment variables."""
        ...

    @property
    def usual(self) -> str:
        """The URL that an installed server answers on without further arrangements."""
        ...

    @property
    def stop_signal(self) -> signal.Signals:
        """What asks it to shut down in good order."""
        ...

    def binary(self) -> str:
        """The server's program; raises `Missing` if it, or what prepares its data, is not installed."""
        ...

    def initialise(self, data: Path) -> None:
        """Fills an empty directory with an empty server's data."""
        ...

    def command(self, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """The command line that runs it in the foreground, on loopback only."""
        ...

    def url(self, port: int) -> str:
        """The URL of a private one, with a database that exists once `ready` has returned."""
        ...

    def ping(self, url: str) -> None:
        """Asks it for a sign of life; raises whatever its driver raises."""
        ...


def program(*names: str, beside: str = "") -> str:
    """Finds an installed program, on PATH, in the usual server folders, or beside another one."""
    folders = [
        beside,
        os.environ.get("PATH", ""),
        "/usr/sbin",
        "/usr/local/sbin",
        "/usr/local/bin",
        "/opt/homebrew/bin",
    ]
    usr = Path("/usr")
    folders += sorted((str(p) for g in ("lib/postgresql/*/bin", "pgsql-*/bin") for p in usr.glob(g)), reverse=True)
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(filter(None, folders))):
            return found
    raise Missing(f"{' or '.join(names)} is not installed")


def owner() -> str | None:
    """Whom a server that refuses root must run as: None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Missing("PostgreSQL refuses root, and there is no user postgres or nobody to run it")


def _run(kind: str, *command: str, user: str | None = None) -> None:
    groups: list[str] | None = None if user is None else []
    done = subprocess.run(
        command, user=user, extra_groups=groups, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{kind} could not be initialised: {(done.stderr or done.stdout).strip()[-600:]}")


@dataclass(frozen=True)
class PostgreSQL:
    """PostgreSQL, trusting loopback."""

    kind: str = "postgresql"
    usual: str = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
    stop_signal: signal.Signals = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave

    def binary(self) -> str:
        """The program `postgres`, with `initdb` beside it."""
        found = program("postgres")
        program("initdb", beside=str(Path(found).resolve().parent))
        return found

    def initialise(self, data: Path) -> None:
        """Runs initdb, as a user that PostgreSQL accepts."""
        user = owner()
        if user:
            shutil.chown(data, user)
        initdb = program("initdb", beside=str(Path(self.binary()).resolve().parent))
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        _run("PostgreSQL", initdb, *options, f"--pgdata={data}", user=user)

    def command(self, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """No disk barriers: a killed process loses nothing that it has written to its files."""
        options = {"fsync": "off", "unix_socket_directories": "", "listen_addresses": "127.0.0.1", "port": str(port)}
        options |= {"shared_buffers": "32MB", "max_connections": "200", **settings}
        return [self.binary(), "-D", str(data), *(w for k, v in options.items() for w in ("-c", f"{k}={v}"))]

    def url(self, port: int) -> str:
        """The maintenance database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"

    def ping(self, url: str) -> None:
        """SELECT 1."""
        execute(url, "SELECT 1")


@dataclass(frozen=True)
class MariaDB:
    """MariaDB, with a root that has no password."""

    kind: str = "mariadb"
    usual: str = "mysql+pymysql://root@127.0.0.1:3306/"
    stop_signal: signal.Signals = signal.SIGTERM

    def binary(self) -> str:
        """The program `mariadbd`, with `mariadb-install-db` installed too."""
        program("mariadb-install-db")
        return program("mariadbd")

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    @staticmethod
    def _tmpdir(data: Path) -> str:
        """A folder of its own: a MariaDB that starts removes the temporary tables of all others from a shared one."""
        folder = data.parent / "tmp"
        folder.mkdir(exist_ok=True)
        return str(folder)

    def initialise(self, data: Path) -> None:
        """Runs mariadb-install-db without any configuration file of the machine's."""
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        options += ["--innodb-log-file-size=8M", "--innodb-flush-method=nosync", f"--tmpdir={self._tmpdir(data)}"]
        _run("MariaDB", program("mariadb-install-db"), "--no-defaults", *self._user(), *options, f"--datadir={data}")
        (data / "test").mkdir(exist_ok=True)

    def command(self, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """The log is written at each commit and synced by the system: safe when the process is killed."""
        options = {"bind-address": "127.0.0.1", "port": str(port), "datadir": str(data)}
        options |= {"socket": str(data.parent / "s"), "pid-file": str(data.parent / "pid"), "skip-name-resolve": "ON"}
        options |= {"tmpdir": self._tmpdir(data)}
        options |= {"innodb-log-file-size": "8M", "innodb-buffer-pool-size": "16M", "performance-schema": "OFF"}
        options |= {"innodb-flush-log-at-trx-commit": "2", "max-connections": "200", **settings}
        return [self.binary(), "--no-defaults", *self._user(), *(f"--{k}={v}" for k, v in options.items())]

    def url(self, port: int) -> str:
        """The database `test`, which is an empty folder to MariaDB."""
        return f"mysql+pymysql://root@127.0.0.1:{port}/test"

    def ping(self, url: str) -> None:
        """SELECT 1."""
        execute(url, "SELECT 1")


@dataclass(frozen=True)
class Redis:
    """Redis without a password; private ones keep an append-only file, so that they lose nothing when killed."""

    kind: str = "redis"
    usual: str = "redis://127.0.0.1:6379/0"
    stop_signal: signal.Signals = signal.SIGTERM

    def binary(self) -> str:
        """The program `redis-server`, or Valkey's."""
        return program("redis-server", "valkey-server")

    def initialise(self, data: Path) -> None:
        """An empty directory is an empty server."""

    def command(self, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Many logical databases, so that each test has its own."""
        options = {"bind": "127.0.0.1", "port": str(port), "dir": str(data), "save": "", "databases": "4096"}
        options |= {"appendonly": "yes", "appendfsync": "no", "daemonize": "no", **settings}
        return [self.binary(), *(word for k, v in options.items() for word in (f"--{k}", v))]

    def url(self, port: int) -> str:
        """Logical database 0."""
        return f"redis://127.0.0.1:{port}/0"

    def ping(self, url: str) -> None:
        """PING."""
        with redis_client(url) as client:
            client.ping()


KINDS: dict[str, Recipe] = {recipe.kind: recipe for recipe in (PostgreSQL(), MariaDB(), Redis())}
