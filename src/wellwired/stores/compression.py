"""Compression of stored values by Zstandard, above a size; the extra ``zstd``.

What comes out is bounded before it is made: a frame says how much it holds, and one that says nothing, or more than the
limit, is not opened. So a few bytes cannot fill the memory, whoever wrote them.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from wellwired.errors import MissingExtraError
from wellwired.stores.damage import Reason
from wellwired.stores.envelope import Unreadable

__all__ = ["Zstd"]

_UNKNOWN: Final = -1


class Zstd:
    """Compresses what is large enough to be worth it; safe for threads.

    Args:
        above: payloads of more bytes than this are compressed, and kept so if that makes them smaller.
        level: 1 (fast) to 19 (small).
        limit: bytes that a value may have uncompressed.

    Raises:
        MissingExtraError: the extra ``zstd`` is not installed.
        ValueError: a number is out of its range.
    """

    __slots__ = ("_local", "_zstd", "above", "level", "limit")

    def __init__(self, *, above: int = 1024, level: int = 3, limit: int = 64 * 2**20) -> None:
        if above < 0 or not 1 <= level <= 19 or limit < 1:
            raise ValueError("above is 0 bytes or more, level 1 to 19, and limit 1 byte or more")
        try:
            import zstandard
        except ImportError:
            raise MissingExtraError("zstandard", extra="zstd", purpose="compression of stored values") from None
        self.above, self.level, self.limit = above, level, limit
        self._zstd: Any = zstandard
        # Its contexts are for one thread at a time, and dear to make.
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"Zstd(above={self.above}, level={self.level}, limit={self.limit})"

    def pack(self, payload: bytes) -> bytes | None:
        """The payload compressed, or None if it is better left as it is."""
        if len(payload) <= self.above or len(payload) > self.limit:
            return None
        context = getattr(self._local, "compressor", None)
        if context is None:
            context = self._local.compressor = self._zstd.ZstdCompressor(level=self.level)
        packed: bytes = context.compress(payload)
        return packed if len(packed) < len(payload) else None

    def unpack(self, packed: bytes) -> bytes:
        """The payload again.

        Raises:
            Unreadable: it would have more bytes than the limit, or does not say how many.
            Exception: the bytes are no such frame.
        """
        size = self._zstd.frame_content_size(packed)
        if size == _UNKNOWN or size > self.limit:
            raise Unreadable(Reason.SIZE)
        context = getattr(self._local, "decompressor", None)
        if context is None:
            context = self._local.decompressor = self._zstd.ZstdDecompressor()
        payload: bytes = context.decompress(packed, allow_extra_data=False)
        return payload
