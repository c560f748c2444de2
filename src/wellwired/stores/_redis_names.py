"""Where a namespace keeps what in Redis: values, fences, tags and its state, each under names of its own.

=====================  ===========================================
``users:k``            the value of the key ``k``
``users!17``           the fence of stripe 17
``users!!``            the state: the epoch, and the word of the last invalidation
``users!#tenant:1``    the word of the tag ``tenant:1``
``users!~k``           the lease of who loads the key ``k``
=====================  ===========================================
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import Final

from wellwired.errors import KeyFormatError
from wellwired.stores._redis_scripts import CLEARED
from wellwired.stores.envelope import WORD_BYTES
from wellwired.stores.keys import encode_key

__all__ = ["Names", "cleared_word", "new_word"]

# The same in every process of every version: two that disagreed about a key's fence would not see each other's writes.
_STRIPES: Final = 1024
_TAG_BYTES: Final = 1000


def new_word() -> bytes:
    """A word that there has never been; from the system, for forked children share the state of `random`."""
    return os.urandom(WORD_BYTES)


def cleared_word() -> bytes:
    """A new epoch for a namespace that is being cleared."""
    return CLEARED + os.urandom(WORD_BYTES - len(CLEARED))


class Names:
    """The names of one namespace; immutable.

    Args:
        namespace: the namespace.
    """

    __slots__ = ("_fences", "_leases", "_tags", "prefix", "state")

    def __init__(self, namespace: str) -> None:
        start = namespace.encode()
        self.prefix, self.state = start + b":", start + b"!!"
        self._fences, self._tags, self._leases = start + b"!", start + b"!#", start + b"!~"

    def fence(self, raw: bytes) -> bytes:
        """The name of a key's fence."""
        return b"%b%d" % (self._fences, zlib.crc32(raw) % _STRIPES)

    def places(self, raws: Iterable[bytes]) -> list[bytes]:
        """The state, then value and fence of each key: what the scripts want."""
        return [self.state, *[place for raw in raws for place in (self.prefix + raw, self.fence(raw))]]

    def leased_places(self, raws: Iterable[bytes]) -> list[bytes]:
        """The state, then value, fence and lease of each key: what the scripts about leases want."""
        trios = [(self.prefix + raw, self.fence(raw), self._leases + raw) for raw in raws]
        return [self.state, *[place for trio in trios for place in trio]]

    def tag(self, tag: str) -> bytes:
        """The name of a tag's word.

        Raises:
            KeyFormatError: it is no tag: a key of 1,000 bytes at most would be one.
        """
        raw = encode_key(tag)
        if len(raw) > _TAG_BYTES:
            raise KeyFormatError(f"a tag of {len(raw)} bytes is longer than {_TAG_BYTES}")
        return self._tags + raw

    def lease(self, raw: bytes) -> bytes:
        """The name of the lease of a key."""
        return self._leases + raw

    def fresh(self, place: bytes) -> bytes:
        """What is put there if nothing is: two words for the state, one for anything else."""
        return new_word() + new_word() if place == self.state else new_word()
