"""How the frameworks' caches fit a key of any length into a store, whose keys have 1,024 bytes at most.

A longer key keeps its beginning and gets a digest for the rest. A key that already looks like that gets one too: so no
two keys ever meet, whoever may choose them.
"""

from __future__ import annotations

import hashlib
from typing import Final

from wellwired.stores.keys import KEY_BYTES

__all__ = ["ALWAYS_FITS", "fitted"]

ALWAYS_FITS: Final = 250
"""A key of no more characters fits whatever they are, and never looks like one with a digest."""

_MARK: Final = "~sha256~"
_KEPT: Final = ALWAYS_FITS - 64


def fitted(key: str) -> str:
    """The key itself, or what stands for it in a store.

    Args:
        key: the cache's key, with its prefix and version.
    """
    if len(key) <= ALWAYS_FITS:
        return key
    raw = key.encode(errors="surrogatepass")
    if len(raw) <= KEY_BYTES and _MARK not in key:
        return key
    return f"{key[:_KEPT]}{_MARK}{hashlib.sha256(raw).hexdigest()}"
