r"""The wrapping of every value that leaves the process: versioned, bound to its key, proof against damage.

::

    c1 57 57   version   codec id   crc32   flags   key length   duration ms   expires ms   key   payload
    3          1         12         4       1       2            8             8            ...   ...

Numbers are big-endian; the codec's id is filled up with zero bytes. The first byte is one that neither MessagePack nor
UTF-8 ever uses. The key is bound in full, namespace and colon in front, so a value that was copied under another key is
not taken for that key's. The checksum covers all that follows it. Flags are 1 if the duration counts and 2 if the
moment of expiry (on the server's clock) does; any other is from a version that this one does not know.

What cannot be opened is `Unreadable`, with a reason: the stores make a miss and a `Damage` of it. The checksum guards
against accidents, not against an enemy who can write to the backend.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

from wellwired.stores.codecs import Codec
from wellwired.stores.damage import Reason

__all__ = ["VERSION", "Envelopes", "Unreadable"]

VERSION: Final = 1
_MAGIC: Final = b"\xc1WW"
_MORTAL: Final = 1
_STAMPED: Final = 2
_CODEC_BYTES: Final = 12
_HEAD: Final = struct.Struct(f">{4 + _CODEC_BYTES}sIBHQQ")
_COVERED: Final = struct.Struct(">BHQQ")
_SIZE: Final = _HEAD.size
_COVERED_AT: Final = _SIZE - _COVERED.size
_unpack, _crc32 = _HEAD.unpack_from, zlib.crc32


class Unreadable(Exception):  # noqa: N818 - it never leaves the stores
    """An envelope that cannot be opened; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class Envelopes:
    """Seals and opens envelopes with one codec; immutable and safe for threads.

    Args:
        codec: what turns values into bytes.
    """

    __slots__ = ("_decode", "_encode", "_start")

    def __init__(self, codec: Codec) -> None:
        name = codec.id.encode("ascii")
        if not 1 <= len(name) <= _CODEC_BYTES:
            raise ValueError(f"a codec's id has 1 to {_CODEC_BYTES} ASCII characters; {codec.id!r} is none")
        self._start = _MAGIC + bytes((VERSION,)) + name.ljust(_CODEC_BYTES, b"\0")
        self._encode, self._decode = codec.encode, codec.decode

    def seal(self, bound: bytes, value: Any, *, duration: int | None = None, expires: int | None = None) -> bytes:
        """Wraps a value.

        Args:
            bound: the namespace, a colon and the key.
            value: what to wrap.
            duration: milliseconds that it was given to live; None for ever.
            expires: when that ends, in milliseconds of the server's clock, if the store has to keep it in here.

        Returns:
            The envelope.

        Raises:
            CodecError: the codec cannot encode the value.
        """
        flags = _MORTAL * (duration is not None) | _STAMPED * (expires is not None)
        head = _COVERED.pack(flags, len(bound), duration or 0, expires or 0)
        covered = b"".join((head, bound, self._encode(value)))
        return b"".join((self._start, _crc32(covered).to_bytes(4, "big"), covered))

    def open(self, bound: bytes, envelope: bytes) -> tuple[Any, int | None, int | None]:
        """Takes a value out.

        Args:
            bound: the namespace, a colon and the key under which the envelope was found.
            envelope: what was found there.

        Returns:
            The value, its duration in milliseconds, and its expiry in milliseconds of the server's clock, or None.

        Raises:
            Unreadable: it is damaged, foreign, of another version or key, or the codec cannot read it.
        """
        try:
            start, crc, flags, length, duration, expires = _unpack(envelope)
        except struct.error:
            raise Unreadable(_cut(envelope)) from None
        # One test for all that may be wrong: which of it was, is found out afterwards.
        if (
            start != self._start
            or _crc32(envelope[_COVERED_AT:]) != crc
            or length != len(bound)
            or not envelope.startswith(bound, _SIZE)
            or flags > _MORTAL | _STAMPED
        ):
            raise Unreadable(self._objection(envelope, crc, flags))
        try:
            value = self._decode(envelope[_SIZE + length :])
        except Exception:  # noqa: BLE001 - a codec may raise anything for bytes that it did not write
            raise Unreadable(Reason.VALUE) from None
        return value, duration if flags & _MORTAL else None, expires if flags & _STAMPED else None

    def _objection(self, envelope: bytes, crc: int, flags: int) -> Reason:
        if not envelope.startswith(_MAGIC):
            return Reason.FOREIGN
        if envelope[len(_MAGIC)] != VERSION:
            return Reason.VERSION
        if _crc32(envelope[_COVERED_AT:]) != crc:
            return Reason.CHECKSUM
        if not envelope.startswith(self._start):
            return Reason.CODEC
        return Reason.VERSION if flags > _MORTAL | _STAMPED else Reason.KEY


def _cut(envelope: bytes) -> Reason:
    """Why something shorter than a head is no envelope: a beginning of one, or something else."""
    if envelope[: len(_MAGIC)] == _MAGIC[: len(envelope)]:
        return Reason.TRUNCATED
    return Reason.FOREIGN
