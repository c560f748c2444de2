"""What a key may be, and how to build one from parts so that no two lists of parts give the same key.

A key is text of 1 to 1,024 bytes in UTF-8. `build_key` joins typed parts with colons: text stands as it is, with the
two characters that have a meaning here escaped, and everything else begins with a tilde and a letter for its type, so
``("user", 1)`` and ``("user", "1")`` differ, and so do ``("a", "b:c")`` and ``("a:b", "c")``. `split_key` is its
inverse, which is the proof that nothing is lost. A namespace is a short plain name without the characters that
separate it from a key, so the keys of ``users`` can never be taken for those of ``users2``.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from wellwired.errors import KeyFormatError

__all__ = ["KEY_BYTES", "KeyPart", "build_key", "check_namespace", "encode_key", "encode_keys", "split_key"]

KEY_BYTES: Final = 1024
"""How many bytes of UTF-8 a key may have: what every supported database can index without hashing."""

KeyPart: TypeAlias = str | int | float | bool | bytes | Decimal | uuid.UUID | dt.date | dt.datetime | None
"""What a part of a key may be."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.{}/-]{1,64}")
_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A", "~": "%7E"})


def encode_key(key: str) -> bytes:
    """Checks a key and gives its bytes.

    Args:
        key: the key.

    Returns:
        The key in UTF-8.

    Raises:
        KeyFormatError: it is not text, is empty, has more than 1,024 bytes, or holds half a surrogate pair.
    """
    try:
        raw = key.encode()
    except UnicodeEncodeError as error:
        # The driver's error quotes the key; it goes no further than its position.
        raise KeyFormatError(f"a key holds half a surrogate pair at position {error.start}") from None
    except AttributeError:
        kind = type(key).__qualname__
        raise KeyFormatError(f"a key must be text, not {kind}; build_key() makes one of parts") from None
    if 0 < len(raw) <= KEY_BYTES:
        return raw
    if not raw:
        raise KeyFormatError("a key must not be empty")
    raise KeyFormatError(f"a key of {len(raw)} bytes is longer than {KEY_BYTES}; put a digest for its long part")


def encode_keys(keys: Sequence[str], prefix: bytes = b"") -> list[bytes]:
    """Checks many keys at once and gives their bytes.

    Args:
        keys: the keys.
        prefix: what to put in front of each.

    Returns:
        The prefix and the key in UTF-8, for each key in order.

    Raises:
        KeyFormatError: one of them is no key; see `encode_key`.
    """
    try:
        names = [prefix + key.encode() for key in keys]
    except (UnicodeEncodeError, AttributeError):
        names = []
    shortest, longest = len(prefix), len(prefix) + KEY_BYTES
    lengths = set(map(len, names))
    if len(names) != len(keys) or (lengths and not shortest < min(lengths) <= max(lengths) <= longest):
        return [prefix + encode_key(key) for key in keys]  # raises, and says why
    return names


def check_namespace(namespace: str) -> str:
    """Gives the namespace back if it is one.

    Args:
        namespace: 1 to 64 ASCII letters, digits and ``_ . - / { }``.

    Returns:
        The same namespace.

    Raises:
        KeyFormatError: it is something else.
    """
    if _NAMESPACE.fullmatch(namespace):
        return namespace
    raise KeyFormatError(f"a namespace is 1 to 64 ASCII letters, digits or any of _ . - / {{ }}; {namespace!r} is none")


def build_key(*parts: KeyPart) -> str:
    """Joins typed parts to a key; different parts, or parts of different types, give different keys.

    Args:
        parts: one or more; text, numbers, bytes, UUIDs, dates, moments or None.

    Returns:
        The key; `split_key` takes it apart again.

    Raises:
        KeyFormatError: there is no part, a part has another type, or the key would not be one (see `encode_key`).
    """
    if not parts:
        raise KeyFormatError("a key needs at least one part")
    key = ":".join([_written(part, number) for number, part in enumerate(parts, 1)])
    encode_key(key)
    return key


def split_key(key: str) -> tuple[Any, ...]:
    """Takes a key of `build_key` apart.

    Args:
        key: what `build_key` made.

    Returns:
        Parts equal to the original ones, of the same types.

    Raises:
        KeyFormatError: `build_key` did not make it.
    """
    encode_key(key)
    try:
        parts = tuple([_read(text) for text in key.split(":")])
    except (ValueError, ArithmeticError, KeyError):
        parts = ()
    # One spelling for each list of parts: "~i01" is no key, or two keys would mean the same.
    if not parts or build_key(*parts) != key:
        raise KeyFormatError("the key was not made by build_key()")
    return parts


def _written(part: KeyPart, number: int) -> str:
    if isinstance(part, str):
        return str.translate(part, _ESCAPES) or "~"
    for kind, letter, write, _ in _TYPES:
        if isinstance(part, kind):
            try:
                return f"~{letter}{write(part)}".translate(_COLON)
            except ValueError:  # Python writes out no int of more than 4,300 digits
                raise KeyFormatError(f"part {number} of a key is longer than {KEY_BYTES} bytes") from None
    raise KeyFormatError(f"part {number} of a key is a {type(part).__qualname__}, which has no place in a key")


def _read(text: str) -> Any:
    if text == "~":
        return ""
    plain = text.replace("%3A", ":").replace("%7E", "~").replace("%25", "%")
    return _READERS[text[1:2]](plain[2:]) if text.startswith("~") else plain


_COLON: Final = str.maketrans({":": "%3A"})

# The order matters: a bool is an int and a moment is a date, to isinstance().
_TYPES: Final[tuple[tuple[type, str, Callable[[Any], str], Callable[[str], Any]], ...]] = (
    (bool, "b", lambda part: "1" if part else "0", lambda text: {"0": False, "1": True}[text]),
    (int, "i", int.__repr__, int),
    (float, "f", float.hex, float.fromhex),
    (type(None), "n", lambda _: "", lambda _: None),
    (bytes, "x", bytes.hex, bytes.fromhex),
    (Decimal, "d", Decimal.__str__, Decimal),
    (uuid.UUID, "u", lambda part: part.hex, uuid.UUID),
    (dt.datetime, "t", dt.datetime.isoformat, dt.datetime.fromisoformat),
    (dt.date, "a", dt.date.isoformat, dt.date.fromisoformat),
)
_READERS: Final[dict[str, Callable[[str], Any]]] = {letter: read for _, letter, _, read in _TYPES}
