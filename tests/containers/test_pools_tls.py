"""Tests of TLS to real servers: encrypted, checked, refused where the check fails, and with a client's certificate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.servers import PrivateServer
from tests.servers.private import free_port
from tests.servers.recipes import owner
from tests.settings.certificates import PASSWORD, make_certificates
from wellwired.containers import pools
from wellwired.settings import RedisSettings, SQLSettings

StartServer = Callable[..., PrivateServer]


@pytest.fixture(scope="module")
def pem() -> Iterator[Path]:
    """Certificates in a folder that a server may read under its own user."""
    folder = Path(tempfile.mkdtemp(prefix="ww-pem-"))
    folder.chmod(0o755)
    make_certificates(folder)
    if user := owner():
        shutil.copy(folder / "server.key", folder / "postgres.key")
        shutil.chown(folder / "postgres.key", user)
        (folder / "postgres.key").chmod(0o600)
    yield folder
    shutil.rmtree(folder)


def _tls(pem: Path, ca: str = "ca.pem", verify: str = "full", *, client: bool = True) -> dict[str, Any]:
    own = {"cert": pem / "client.pem", "key": pem / "locked.key", "key_password": PASSWORD} if client else {}
    return {"ca": pem / ca, "verify": verify, **own}


@pytest.fixture
def secured(request: pytest.FixtureRequest, pem: Path) -> str:
    """The URL of a server of this test's own that speaks TLS: MariaDB and PostgreSQL in turn."""
    if request.param == "postgresql":
        start: StartServer = request.getfixturevalue("private_postgresql")
        key = pem / ("postgres.key" if owner() else "server.key")
        options = {"ssl": "on", "ssl_cert_file": pem / "server.pem", "ssl_key_file": key, "ssl_ca_file": pem / "ca.pem"}
        return start(**{name: str(value) for name, value in options.items()}).url
    start = request.getfixturevalue("private_mariadb")
    options = {"ssl-cert": pem / "server.pem", "ssl-key": pem / "server.key", "ssl-ca": pem / "ca.pem"}
    return start(**{name: str(value) for name, value in options.items()}).url


def _encrypted(engine: sa.Engine) -> tuple[bool, str]:
    """Whether the connection is, and whose certificate the server has seen."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            row = connection.execute(
                sa.text("SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            ).one()
            return bool(row[0]), row[1] or ""
        return bool(connection.execute(sa.text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1]), "/CN=client"


@pytest.mark.parametrize(
    "secured",
    [pytest.param("mariadb", marks=pytest.mark.mariadb), pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
def test_tls_to_a_database(secured: str, pem: Path) -> None:
    """Encrypted whatever is checked; another authority's word is not taken where it counts."""
    for verify in ("full", "ca", "none"):
        settings = SQLSettings.model_validate({"url": secured, "tls": _tls(pem, verify=verify)})
        engine = pools.open_engine("sql.main", settings)
        assert _encrypted(engine) == (True, "/CN=client")
        pools.close_engine(engine)
    for verify, refused in (("full", True), ("ca", True), ("none", False)):
        tls = _tls(pem, "other-ca.pem", verify, client=False)
        engine = pools.open_engine("sql.main", SQLSettings.model_validate({"url": secured, "tls": tls}))
        if refused:
            with pytest.raises(OperationalError, match=r"(?i)certificate"):
                pools.ping_engine(engine)
        else:
            assert _encrypted(engine)[0]
        pools.close_engine(engine)


@pytest.mark.redis
def test_tls_to_a_redis(private_redis: StartServer, pem: Path) -> None:
    """Encrypted whatever is checked; another authority's word, or no client's certificate, is not enough."""
    port = str(free_port())
    files = {"tls-cert-file": "server.pem", "tls-key-file": "server.key", "tls-ca-cert-file": "ca.pem"}
    private_redis(**{"tls-port": port}, **{name: str(pem / file) for name, file in files.items()})

    def ping(**tls: Any) -> None:
        settings = RedisSettings.model_validate({"url": f"rediss://127.0.0.1:{port}", "tls": tls})
        client = pools.open_redis("redis.cache", settings)
        try:
            pools.ping_redis(client)
        finally:
            pools.close_redis(client)

    for verify in ("full", "ca", "none"):
        ping(**_tls(pem, verify=verify))
    ping(**_tls(pem, "other-ca.pem", "none"))
    for wrong in (_tls(pem, "other-ca.pem"), _tls(pem, "other-ca.pem", "ca"), _tls(pem, client=False)):
        with pytest.raises(redis.ConnectionError):
            ping(**wrong)


def test_postgresql_trusts_the_systems_authorities_without_one_of_its_own() -> None:
    """Without a file libpq is told to use the system's, not to skip the check."""
    from wellwired.containers._engines import _libpq_tls
    from wellwired.settings import TLSSettings

    assert _libpq_tls(TLSSettings()) == {"sslmode": "verify-full", "sslrootcert": "system"}
    assert _libpq_tls(TLSSettings(verify="none")) == {"sslmode": "require"}
