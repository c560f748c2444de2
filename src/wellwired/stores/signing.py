"""Signatures for stored values: who can write to the backend, but has no key, cannot make a value that is served.

An HMAC with SHA-256 over everything in the envelope: codec, lives, the whole key, tags and payload. So a signed value
is worth nothing under another key either. Each signature names its key by four bytes of a fingerprint. To rotate, put
the new key in front and leave the old one behind it until the longest ttl has passed: the first key signs, all verify.
An older value of the same key, put back by an enemy, is not found out: a signature knows no time but the value's own.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

__all__ = ["SIGNATURE_BYTES", "Signer"]

SIGNATURE_BYTES: Final = 36
"""How long a signature is: four bytes that name the key, and the HMAC."""

_NAME_BYTES: Final = 4
_KEY_BYTES: Final = 16


class Signer:
    """Signs with its first key and verifies with any of them; immutable, safe for threads, silent about its keys.

    Args:
        keys: secrets of 16 bytes at least, the one that signs first; text counts in UTF-8.

    Raises:
        ValueError: no key, one that is too short, or two the same.
    """

    __slots__ = ("_keys", "_name")

    def __init__(self, *keys: bytes | str) -> None:
        raws = [key.encode() if isinstance(key, str) else bytes(key) for key in keys]
        if not raws or min(map(len, raws)) < _KEY_BYTES:
            raise ValueError(f"a signer needs keys of {_KEY_BYTES} bytes at least; secrets.token_hex() makes one")
        self._keys = {_named(raw): raw for raw in raws}
        if len(self._keys) != len(raws):
            raise ValueError("a signer was given the same key twice; leave one of them out")
        self._name = _named(raws[0])

    def __repr__(self) -> str:
        return f"Signer({len(self._keys)} keys)"

    def sign(self, data: bytes) -> bytes:
        """The signature of the data by the first key."""
        return self._name + hmac.digest(self._keys[self._name], data, "sha256")

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether one of the keys made the signature for the data; takes the same time whatever is wrong with it."""
        key = self._keys.get(signature[:_NAME_BYTES])
        expected = b"" if key is None else hmac.digest(key, data, "sha256")
        return hmac.compare_digest(expected, signature[_NAME_BYTES:]) and key is not None


def _named(key: bytes) -> bytes:
    return hashlib.sha256(b"wellwired signing key\0" + key).digest()[:_NAME_BYTES]
