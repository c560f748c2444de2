"""TLS to a server: which certificates, and how much is checked.

The files are looked at when the settings are made, so that a wrong one is a fault of the configuration and not a
failed handshake at night.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, SecretStr, ValidationInfo, field_validator

from wellwired.settings._section import Section, fault

if TYPE_CHECKING:
    import ssl

__all__ = ["TLSSettings", "ssl_context"]


def _readable(path: Path) -> Path:
    try:
        with path.expanduser().open("rb"):
            return path.expanduser()
    except OSError as error:
        raise fault(f"names a file that cannot be read: {(error.strerror or 'unknown reason').lower()}") from None


ReadableFile = Annotated[Path, AfterValidator(_readable)]


class TLSSettings(Section):
    """How to talk TLS to one server.

    Args:
        verify: ``full`` checks the certificate and the host's name, ``ca`` the certificate only, ``none`` nothing.
        ca: file with the certificates of the authorities to trust; without it, those that the system trusts.
        cert: file with the client's certificate, where the server asks for one.
        key: file with the client's private key, if it is not in `cert`.
        key_password: what the private key is encrypted with.
    """

    verify: Literal["full", "ca", "none"] = "full"
    ca: ReadableFile | None = None
    # Before `cert`, whose check looks at both.
    key_password: SecretStr | None = None
    key: ReadableFile | None = None
    cert: ReadableFile | None = None

    @field_validator("ca")
    @classmethod
    def _ca_is_usable(cls, ca: Path | None) -> Path | None:
        import ssl

        try:
            if ca is not None:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        except (ssl.SSLError, OSError):
            raise fault("names a file without a certificate in PEM form") from None
        return ca

    @field_validator("cert")
    @classmethod
    def _cert_is_usable(cls, cert: Path | None, info: ValidationInfo) -> Path | None:
        if not {"key", "key_password"} <= info.data.keys():
            return cert  # a fault of theirs is reported already
        if cert is None:
            if info.data["key"] is not None:
                raise fault("is not set, but KEY is; set both")
            return cert
        _load_client(cert, info.data["key"], info.data["key_password"])
        return cert


def _load_client(cert: Path, key: Path | None, password: SecretStr | None) -> None:
    import ssl

    try:
        _load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key, password)
    except (ssl.SSLError, OSError):
        raise fault("does not fit KEY and KEY_PASSWORD, or is not in PEM form") from None


def _load_chain(context: ssl.SSLContext, cert: Path, key: Path | None, password: SecretStr | None) -> None:
    # Without a password OpenSSL would ask for one on the terminal, and wait.
    context.load_cert_chain(cert, key, password=password.get_secret_value() if password else "")


def ssl_context(tls: TLSSettings) -> ssl.SSLContext:
    """The client side of a TLS connection as the settings say; reads the certificate files.

    Args:
        tls: the settings.

    Returns:
        A new context.
    """
    import ssl

    context = ssl.create_default_context(cafile=tls.ca)
    context.check_hostname = tls.verify == "full"
    context.verify_mode = ssl.CERT_NONE if tls.verify == "none" else ssl.CERT_REQUIRED
    if tls.cert is not None:
        _load_chain(context, tls.cert, tls.key, tls.key_password)
    return context
