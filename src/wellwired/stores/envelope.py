r"""The wrapping of every value that leaves the process: versioned, bound to its key, proof against damage.

::

    c1 57 57 02   codec id   crc32   flags   key length   duration   expires   stale   epoch   key   [tags]   payload
    4             12         4       1       2            8          8         8       12      ...            ...

Numbers are big-endian; the codec's id is filled up with zero bytes. The first byte is one that neither MessagePack nor
UTF-8 ever uses. The key is bound in full, namespace and colon in front, so a value that was copied under another key is
not taken for that key's. The checksum covers all that follows it. Times are in milliseconds: for how long the value was
to be fresh, when that ends on the server's clock, and for how long after that it may be served as stale. The epoch is
the word of the namespace at the time of writing. Flags say what counts: 1 the duration, 2 the moment of expiry, 4 the
payload is compressed, 8 there are tags in front of it (two bytes for their number, then for each a length of two
bytes, the tag, and its word of 12), 16 the last 36 bytes are a signature. Any other is from a version that this one
does not know. Version 1, without stale, epoch and the last three flags, is read as well.

What cannot be opened is `Unreadable`, with a reason: the stores make a miss and a `Damage` of it. The checksum guards
against accidents; against an enemy who can write to the backend only a `Signer` does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Protocol

from wellwired.stores.codecs import Codec
from wellwired.stores.damage import Reason

__all__ = [
    "EPOCH_AT",
    "NO_WORD",
    "STALE_AT",
    "STALE_BYTES",
    "VERSION",
    "WORD_BYTES",
    "Envelopes",
    "Opened",
    "Packing",
    "Signing",
    "Unreadable",
]

VERSION: Final = 2
WORD_BYTES: Final = 12
NO_WORD: Final = bytes(WORD_BYTES)
"""Stands for no epoch, and for that of an envelope of version 1."""

_MAGIC: Final = b"\xc1WW"
_FIRST: Final = 1
_MORTAL, _STAMPED, _COMPRESSED, _TAGGED, _SIGNED = 1, 2, 4, 8, 16
_PLAIN: Final = _MORTAL | _STAMPED
_KNOWN: Final = 31
_CODEC_BYTES: Final = 12
_HEAD: Final = struct.Struct(f">{4 + _CODEC_BYTES}sIBHQQQ{WORD_BYTES}s")
_COVERED: Final = struct.Struct(f">BHQQQ{WORD_BYTES}s")
_FIRST_HEAD: Final = struct.Struct(f">{4 + _CODEC_BYTES}sIBHQQ")
_SHORT: Final = struct.Struct(">H")
_SIZE: Final = _HEAD.size
_COVERED_AT: Final = _SIZE - _COVERED.size
EPOCH_AT: Final = _SIZE - WORD_BYTES
"""Where the epoch begins, for scripts on a server."""
STALE_BYTES: Final = 8
STALE_AT: Final = EPOCH_AT - STALE_BYTES
"""Where the stale life begins, in milliseconds."""
_SIGNATURE_BYTES: Final = 36
_unpack, _crc32 = _HEAD.unpack_from, zlib.crc32

Tags = tuple[tuple[str, bytes], ...]


class Packing(Protocol):
    """What compresses payloads; see `compression.Zstd`."""

    def pack(self, payload: bytes) -> bytes | None:
        """The payload compressed, or None if it is better left as it is."""
        ...

    def unpack(self, packed: bytes) -> bytes:
        """The payload again; whatever it raises means that there is none."""
        ...


class Signing(Protocol):
    """What signs envelopes, in 36 bytes; see `signing.Signer`."""

    def sign(self, data: bytes) -> bytes:
        """The signature of the data."""
        ...

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is one for the data."""
        ...


class Unreadable(Exception):  # noqa: N818 - it never leaves the stores
    """An envelope that cannot be opened; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


class Opened(NamedTuple):
    """What was in an envelope.

    Args:
        value: the value.
        duration: milliseconds that it was given to be fresh, or None for ever.
        expires: when that ends, in milliseconds of the server's clock, if the envelope says so.
        stale: milliseconds after that for which it may be served as stale.
        epoch: the word of the namespace when it was written.
        tags: its tags, each with its word when the value was written.
    """

    value: Any
    duration: int | None
    expires: int | None
    stale: int = 0
    epoch: bytes = NO_WORD
    tags: Tags = ()


class Envelopes:
    """Seals and opens envelopes with one codec; immutable and safe for threads.

    Args:
        codec: what turns values into bytes. If it has a `signer`, everything is signed and nothing else is read.
        compression: what compresses large payloads; without it they stay as they are, and compressed ones are not read.
        signer: signs every envelope, if the codec brings none of its own.
    """

    __slots__ = ("_compression", "_decode", "_encode", "_first", "_signer", "_start")

    def __init__(self, codec: Codec, *, compression: Packing | None = None, signer: Signing | None = None) -> None:
        name = codec.id.encode("ascii")
        if not 1 <= len(name) <= _CODEC_BYTES:
            raise ValueError(f"a codec's id has 1 to {_CODEC_BYTES} ASCII characters; {codec.id!r} is none")
        self._start = _MAGIC + bytes((VERSION,)) + name.ljust(_CODEC_BYTES, b"\0")
        self._first = _MAGIC + bytes((_FIRST,)) + self._start[4:]
        self._encode, self._decode = codec.encode, codec.decode
        self._compression = compression
        own: Signing | None = getattr(codec, "signer", None)
        self._signer = own or signer

    def seal(
        self,
        bound: bytes,
        value: Any,
        *,
        duration: int | None = None,
        expires: int | None = None,
        stale: int = 0,
        epoch: bytes = NO_WORD,
        tags: Iterable[tuple[str, bytes]] = (),
    ) -> bytes:
        """Wraps a value.

        Args:
            bound: the namespace, a colon and the key.
            value: what to wrap.
            duration: milliseconds that it was given to be fresh; None for ever.
            expires: when that ends, in milliseconds of the server's clock, if the store has to keep it in here.
            stale: milliseconds after that for which it may be served as stale.
            epoch: the word of the namespace.
            tags: its tags, each with its word.

        Returns:
            The envelope.

        Raises:
            CodecError: the codec cannot encode the value.
        """
        payload, section, flags = self._encode(value), b"", _MORTAL * (duration is not None)
        if expires is not None:
            flags |= _STAMPED
        if self._compression is not None and (packed := self._compression.pack(payload)) is not None:
            payload, flags = packed, flags | _COMPRESSED
        if tags:
            section, flags = _written(tags), flags | _TAGGED
        if self._signer is not None:
            flags |= _SIGNED
        head = _COVERED.pack(flags, len(bound), duration or 0, expires or 0, stale, epoch)
        covered = b"".join((head, bound, section, payload))
        if self._signer is not None:
            covered += self._signer.sign(self._start + covered)
        return b"".join((self._start, _crc32(covered).to_bytes(4, "big"), covered))

    def open(self, bound: bytes, envelope: bytes) -> Opened:
        """Takes a value out.

        Args:
            bound: the namespace, a colon and the key under which the envelope was found.
            envelope: what was found there.

        Returns:
            The value, and what was noted about it.

        Raises:
            Unreadable: it is damaged, foreign, of another version or key, wrongly signed, larger than it may be, or the
                codec cannot read it.
        """
        try:
            start, crc, flags, length, duration, expires, stale, epoch = _unpack(envelope)
        except struct.error:
            return self._open_first(bound, envelope)
        # One test for all that may be wrong: which of it was, is found out afterwards.
        if (
            start != self._start
            or _crc32(envelope[_COVERED_AT:]) != crc
            or length != len(bound)
            or not envelope.startswith(bound, _SIZE)
            or flags > _KNOWN
        ):
            return self._open_first(bound, envelope)
        tags: Tags = ()
        payload = envelope[_SIZE + length :]
        if flags > _PLAIN or self._signer is not None:
            tags, payload = self._unwrapped(envelope, payload, flags)
        try:
            value = self._decode(payload)
        except Exception:  # noqa: BLE001 - a codec may raise anything for bytes that it did not write
            raise Unreadable(Reason.VALUE) from None
        if flags & _PLAIN == _PLAIN:
            return _make(Opened, (value, duration, expires, stale, epoch, tags))
        lasts, ends = duration if flags & _MORTAL else None, expires if flags & _STAMPED else None
        return _make(Opened, (value, lasts, ends, stale, epoch, tags))

    def open_usual(
        self, bounds: Iterable[bytes], envelopes: Iterable[bytes | None], epoch: bytes, latest: int
    ) -> list[Any] | None:
        """Takes the values out of many envelopes, if there is nothing about any of them but a value and its life.

        Args:
            bounds: under which names, namespace and colon in front, the envelopes were found.
            envelopes: what was found there.
            epoch: the word of the namespace now.
            latest: a moment, in the server's milliseconds, that its clock has not passed.

        Returns:
            The values in order, each fresh; None if one of them is missing, ended, or to be looked at more closely.
        """
        if self._signer is not None:
            return None
        values: list[Any] = []
        add, start, decode, size, usual = values.append, self._start, self._decode, _SIZE, _PLAIN
        # Written out in one loop without a call of ours: this runs for every value of a batch that is read.
        for bound, envelope in zip(bounds, envelopes, strict=True):
            try:
                head, crc, flags, length, duration, expires, _, word = _unpack(envelope)  # type: ignore[arg-type]
                if (
                    head != start
                    or flags != usual
                    or word != epoch
                    or not 0 < expires - latest <= duration
                    or length != len(bound)
                    or not envelope.startswith(bound, size)  # type: ignore[union-attr]
                    or _crc32(envelope[_COVERED_AT:]) != crc  # type: ignore[index]
                ):
                    return None
                add(decode(envelope[size + length :]))  # type: ignore[index]
            except Exception:  # noqa: BLE001 - as above; what is wrong is found out on the long way
                return None
        return values

    def _unwrapped(self, envelope: bytes, payload: bytes, flags: int) -> tuple[Tags, bytes]:
        """The tags, and the payload without signature and compression."""
        if self._signer is not None or flags & _SIGNED:
            payload = self._verified(envelope, payload, flags)
        tags: Tags = ()
        if flags & _TAGGED:
            try:
                tags, payload = _read(payload)
            except (struct.error, UnicodeDecodeError):
                raise Unreadable(Reason.VALUE) from None
        if flags & _COMPRESSED:
            if self._compression is None:
                raise Unreadable(Reason.CODEC)
            try:
                payload = self._compression.unpack(payload)
            except Unreadable:
                raise
            except Exception:  # noqa: BLE001 - for bytes that nobody packed
                raise Unreadable(Reason.VALUE) from None
        return tags, payload

    def _verified(self, envelope: bytes, payload: bytes, flags: int) -> bytes:
        if self._signer is None or not flags & _SIGNED or len(payload) < _SIGNATURE_BYTES:
            raise Unreadable(Reason.SIGNATURE)
        signed = envelope[: _COVERED_AT - 4] + envelope[_COVERED_AT:-_SIGNATURE_BYTES]
        if not self._signer.verifies(signed, envelope[-_SIGNATURE_BYTES:]):
            raise Unreadable(Reason.SIGNATURE)
        return payload[:-_SIGNATURE_BYTES]

    def _open_first(self, bound: bytes, envelope: bytes) -> Opened:
        """Opens an envelope of version 1, or says what is wrong with one of any version."""
        if not envelope.startswith(self._first) or self._signer is not None or len(envelope) < _FIRST_HEAD.size:
            raise Unreadable(self._objection(envelope))
        _, crc, flags, length, duration, expires = _FIRST_HEAD.unpack_from(envelope)
        if _crc32(envelope[_COVERED_AT:]) != crc:
            raise Unreadable(Reason.CHECKSUM)
        if flags > _PLAIN:
            raise Unreadable(Reason.VERSION)
        if length != len(bound) or not envelope.startswith(bound, _FIRST_HEAD.size):
            raise Unreadable(Reason.KEY)
        try:
            value = self._decode(envelope[_FIRST_HEAD.size + length :])
        except Exception:  # noqa: BLE001 - as above
            raise Unreadable(Reason.VALUE) from None
        return Opened(value, duration if flags & _MORTAL else None, expires if flags & _STAMPED else None)

    def _objection(self, envelope: bytes) -> Reason:
        """What is wrong with an envelope that was not opened."""
        known = len(envelope) > len(_MAGIC) and envelope[len(_MAGIC)] in (_FIRST, VERSION)
        if not envelope.startswith(_MAGIC[: len(envelope)]):
            return Reason.FOREIGN
        if len(envelope) > len(_MAGIC) and not known:
            return Reason.VERSION
        if len(envelope) < (_FIRST_HEAD if envelope.startswith(self._first) else _HEAD).size:
            return Reason.TRUNCATED
        crc = int.from_bytes(envelope[_COVERED_AT - 4 : _COVERED_AT], "big")
        if _crc32(envelope[_COVERED_AT:]) != crc:
            return Reason.CHECKSUM
        if envelope[4 : 4 + _CODEC_BYTES] != self._start[4:]:
            return Reason.CODEC
        if envelope[len(_MAGIC)] == _FIRST:
            return Reason.SIGNATURE
        return Reason.VERSION if envelope[_COVERED_AT] > _KNOWN else Reason.KEY


_make = tuple.__new__  # what the constructor does, without its frame: one is made for every value read


def _written(tags: Iterable[tuple[str, bytes]]) -> bytes:
    parts = [piece for tag, word in tags for raw in (tag.encode(),) for piece in (_SHORT.pack(len(raw)), raw, word)]
    return b"".join((_SHORT.pack(len(parts) // 3), *parts))


def _read(payload: bytes) -> tuple[Tags, bytes]:
    """The tags in front of a payload, and the rest of it."""
    (count,), at = _SHORT.unpack_from(payload), _SHORT.size
    tags: list[tuple[str, bytes]] = []
    for _ in range(count):
        (length,), start = _SHORT.unpack_from(payload, at), at + _SHORT.size
        at = start + length + WORD_BYTES
        if at > len(payload):
            raise struct.error
        tags.append((payload[start : start + length].decode(), payload[start + length : at]))
    return tuple(tags), payload[at:]
