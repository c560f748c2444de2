"""What an idempotency key is, whatever the backend that keeps it.

A key belongs to its target and type: one application's keys for orders do not meet those for payments. It is kept as
a hash, so that it may have any length, no collation can make two keys one, and nobody reads keys in the backend. The
payload's fingerprint tells whether a second request with the key is the same request.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec

from wellwired.errors import BackendError, InvalidRequestError, Phase
from wellwired.operations import WriteRequest

__all__ = ["Kept", "Key", "fingerprint", "reused", "stored_form"]


def fingerprint(payload: Any) -> str:
    """The SHA-256 of a payload's canonical JSON: equal for equal payloads, whatever the order of their fields.

    Of a pydantic model only the fields that were given count, so that a default which is made at each call (a time, an
    id) does not make two sendings of one request look different.

    Args:
        payload: the payload.

    Raises:
        TypeError: it holds something that has no JSON form.
    """
    dump = getattr(payload, "model_dump", None)
    plain = dump(mode="json", exclude_unset=True) if callable(dump) else payload
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """What was stored under a key.

    Args:
        data: the result's data, as JSON gives it back.
        attempt: the word of the attempt that has left it.
    """

    data: Any
    attempt: str = ""


def _word() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Key:
    """One request's idempotency key, ready for the database.

    Args:
        id: SHA-256 of target, type and key, in hexadecimal.
        target: the request's target.
        type: the request's type.
        fingerprint: see `fingerprint`.
        now: the time of day, in seconds since the Unix epoch.
        expires: when the key may be forgotten, likewise.
        attempt: a word that no other attempt has, by which it knows its own row afterwards.
    """

    id: str
    target: str
    type: str
    fingerprint: str
    now: int
    expires: int
    attempt: str = field(default_factory=_word, repr=False)

    @classmethod
    def of(cls, request: WriteRequest, *, now: float, ttl: float) -> Key:
        """The key of a request.

        Args:
            request: one with an idempotency key.
            now: the time of day, in seconds since the Unix epoch.
            ttl: seconds to keep it.

        Raises:
            InvalidRequestError: the payload has no JSON form to compare.
        """
        try:
            print_ = fingerprint(request.payload)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                "a payload with an idempotency key must have a JSON form, to tell whether it is the same again",
                target=request.target,
                type=request.type,
                reason="payload",
            ) from error
        scope = msgspec.json.encode([request.target, request.type, request.idempotency_key])
        identity = hashlib.sha256(scope).hexdigest()
        return cls(identity, request.target, request.type, print_, int(now), int(now + ttl))


def stored_form(data: Any) -> bytes:
    """The JSON in which a result is stored under its key.

    Args:
        data: what the handler returned.

    Raises:
        BackendError: it has no JSON form; the write is to be given up.
    """
    try:
        return msgspec.json.encode(data)
    except (TypeError, ValueError) as error:
        raise BackendError(
            f"the handler returned a {type(data).__name__}, which has no JSON form and so cannot be stored under the "
            "idempotency key; return plain values",
            phase=Phase.EXECUTE,
            reason="handler",
        ) from error


def reused(key: Key) -> InvalidRequestError:
    """The error for a key that was used for another payload; to be raised by the caller."""
    return InvalidRequestError(
        "this idempotency key was used before with another payload; a new write needs a new key",
        target=key.target,
        type=key.type,
        reason="key_reused",
    )
