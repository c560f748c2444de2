"""What a request must be before anything is done with it, and what is said of a name that nobody knows.

Plain rules: they look at values and raise, and every error names the field and the reason and never a value, except
a target or type that is a well-formed name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wellwired.errors import InvalidRequestError, TypeNotSupportedError, WriterNotFoundError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest
from wellwired.writers.protocol import Writer

__all__ = [
    "LONGEST_KEY",
    "LONGEST_NAME",
    "LONGEST_TIMEOUT",
    "check_request",
    "named",
    "no_type",
    "no_writer",
    "repeatable",
]

LONGEST_NAME: Final = 128
"""How many characters a target or a type may have."""

LONGEST_KEY: Final = 128
"""How many characters an idempotency key may have."""

LONGEST_TIMEOUT: Final = 1_000_000
"""How many seconds a write may ask for: far more than any should, and little enough for every timer underneath."""

_LISTED = 20


def check_request(request: WriteRequest) -> None:
    """Checks everything about a request but its payload.

    Args:
        request: as it came from the caller; anything may be in it.

    Raises:
        InvalidRequestError: the text names the first field that is wrong, and so does `reason`.
    """
    if not isinstance(request, WriteRequest):
        raise InvalidRequestError("what was given is no WriteRequest", reason="request")
    if not named(request.target):
        raise _wrong("target", f"must be a name of 1 to {LONGEST_NAME} printable characters", request)
    if not named(request.type):
        raise _wrong("type", f"must be a name of 1 to {LONGEST_NAME} printable characters", request)
    if request.timeout is not None:
        _check_timeout(request)
    if request.idempotency_key is not None:
        _check_key(request)
    if request.meta:
        _check_meta(request)
    elif not isinstance(request.meta, Mapping):
        raise _wrong("meta", "must be a mapping", request)
    if not isinstance(request.changes, Mapping):
        raise _wrong("changes", "must be a mapping from a store's name to keys", request)


def repeatable(request: WriteRequest, handler: Handler, writer: Writer) -> bool:
    """Whether a write may be sent twice without taking effect twice.

    Args:
        request: the request, its fields checked.
        handler: who does it.
        writer: where.

    Raises:
        InvalidRequestError: the request has an idempotency key, and neither the handler nor the writer can keep what
            it promises.
    """
    if getattr(handler, "idempotent", False):
        return True
    if request.idempotency_key is None:
        return False
    if getattr(writer, "keeps_keys", False):
        return True
    rule = f"cannot be kept: the writer {writer.name!r} stores no keys and the handler is not declared idempotent"
    raise _wrong("idempotency_key", rule, request)


def named(value: Any) -> bool:
    """Whether a value can be a target or a type: a printable string, not empty and of sane length."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable() and not value.isspace()


def no_writer(request: WriteRequest, known: Iterable[str]) -> WriterNotFoundError:
    """The error for a target that no writer supports, with the near or the known ones.

    Args:
        request: the request, its names checked.
        known: every target that is known.
    """
    return WriterNotFoundError(
        f"no writer for the target {request.target!r}; {_hint(request.target, known, 'target')}",
        target=request.target,
        type=request.type,
        reason="target",
    )


def no_type(request: WriteRequest, writer: str, known: Iterable[str] | None) -> TypeNotSupportedError:
    """The error for a type that a writer has no handler for, with the near or the known ones.

    Args:
        request: the request, its names checked.
        writer: the name of the writer.
        known: every type that it has a handler for; None if it does not say.
    """
    hint = "register one, for this kind of backend" if known is None else _hint(request.type, known, "type")
    return TypeNotSupportedError(
        f"the writer {writer!r} has no handler for the type {request.type!r}; {hint}",
        target=request.target,
        type=request.type,
        reason="type",
    )


def _check_timeout(request: WriteRequest) -> None:
    timeout: Any = request.timeout
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (number and 0 < timeout <= LONGEST_TIMEOUT):
        raise _wrong("timeout", f"must be a number of seconds above 0, at most {LONGEST_TIMEOUT}", request)


def _check_key(request: WriteRequest) -> None:
    key: Any = request.idempotency_key
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
        raise _wrong("idempotency_key", f"must be a string of 1 to {LONGEST_KEY} characters", request)


def _check_meta(request: WriteRequest) -> None:
    if not isinstance(request.meta, Mapping):
        raise _wrong("meta", "must be a mapping", request)
    for key in request.meta:
        if not isinstance(key, str):
            raise _wrong("meta", "must have strings for keys", request)


def _wrong(field: str, rule: str, request: WriteRequest) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field} {rule}",
        target=request.target if named(request.target) else "",
        type=request.type if named(request.type) else "",
        reason=field,
    )


def _hint(name: str, known: Iterable[str], what: str) -> str:
    names = sorted(known)
    if not names:
        return f"no {what} is registered"
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"known: {', '.join(names[:_LISTED])}{more}"
