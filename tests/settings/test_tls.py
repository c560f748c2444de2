"""Tests of the TLS settings: wrong files are found without a server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.settings.certificates import PASSWORD, make_certificates
from wellwired.settings import Settings, TLSSettings
from wellwired.settings.tls import ssl_context

Faults = Callable[..., tuple[str, ...]]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    return make_certificates(tmp_path_factory.mktemp("pem"))


def _tls(pem: Path, **files: str) -> dict[str, object]:
    return {name: text if name in ("verify", "key_password") else pem / text for name, text in files.items()}


@pytest.mark.parametrize(
    ("verify", "mode", "hostname"),
    [("full", ssl.CERT_REQUIRED, True), ("ca", ssl.CERT_REQUIRED, False), ("none", ssl.CERT_NONE, False)],
)
def test_a_context_checks_what_was_asked(verify: str, mode: ssl.VerifyMode, hostname: bool, pem: Path) -> None:
    """All by default; the name, or everything, may be left unchecked."""
    context = ssl_context(TLSSettings.model_validate(_tls(pem, ca="ca.pem", verify=verify)))
    assert (context.verify_mode, context.check_hostname) == (mode, hostname)
    assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "wellwired tests"),),)]


def test_without_an_authority_the_systems_are_trusted() -> None:
    """The default settings check everything against what the system trusts."""
    context = ssl_context(TLSSettings())
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize("files", [{"key": "client.key"}, {"key": "locked.key", "key_password": PASSWORD}])
def test_a_clients_certificate_is_loaded(files: dict[str, str], pem: Path) -> None:
    """With its key, plain or encrypted."""
    ssl_context(TLSSettings.model_validate(_tls(pem, cert="client.pem", **files)))


@pytest.mark.parametrize(
    ("files", "place", "why"),
    [
        ({"ca": "none.pem"}, "ca", "names a file that cannot be read: no such file or directory"),
        ({"ca": "."}, "ca", "names a file that cannot be read: is a directory"),
        ({"ca": "client.key"}, "ca", "names a file without a certificate in PEM form"),
        ({"cert": "client.pem"}, "cert", "does not fit KEY and KEY_PASSWORD"),
        ({"cert": "client.pem", "key": "server.key"}, "cert", "does not fit KEY and KEY_PASSWORD"),
        ({"cert": "client.pem", "key": "locked.key"}, "cert", "does not fit KEY and KEY_PASSWORD"),
        ({"cert": "client.pem", "key": "locked.key", "key_password": "hunter3"}, "cert", "does not fit KEY"),
        ({"key": "client.key"}, "cert", "is not set, but KEY is; set both"),
    ],
)
def test_wrong_files_are_faults(files: dict[str, str], place: str, why: str, pem: Path, faults_of: Faults) -> None:
    """Each is named by its setting, at once and without asking on the terminal for a password."""
    (line,) = faults_of(sql={"main": {"url": "postgresql://h/d", "tls": _tls(pem, **files)}})
    assert why in line and f"tls.{place}" in line.lower().replace("__", ".")
    assert "hunter3" not in line and str(pem) not in line


def test_libpq_wants_an_authority_where_no_name_is_checked(pem: Path, faults_of: Faults) -> None:
    """The system's authorities vouch for everybody: without the name checked that is no check. Others allow it."""
    (line,) = faults_of(sql={"main": {"url": "postgresql://h/d", "tls": {"verify": "ca"}}})
    assert line.endswith("set CA")
    sql = {"a": {"url": "postgresql://h/d", "tls": _tls(pem, ca="ca.pem", verify="ca")}}
    Settings.load(_environ={}, sql=sql | {"b": {"url": "mysql://h/d", "tls": {"verify": "ca"}}})


def test_nobody_is_asked_for_a_password(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL asks on the terminal where it is given none, and a server would wait there for ever."""
    given: list[object] = []

    def load(self: ssl.SSLContext, cert: Path, key: Path | None = None, password: str | None = None) -> None:
        given.append(password)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    TLSSettings.model_validate(_tls(pem, cert="client.pem", key="locked.key"))
    assert given == [""]


def test_a_fault_of_the_key_is_not_reported_twice(pem: Path, faults_of: Faults) -> None:
    """A certificate is not blamed for a key that cannot be read."""
    tls = _tls(pem, cert="client.pem", key="none.key")
    assert len(faults_of(sql={"main": {"url": "postgresql://h/d", "tls": tls}})) == 1
