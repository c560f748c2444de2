"""Pickle, for those who ask for it by name: any Python object, signed, and never read without its signature.

Reading a pickle runs what its bytes say. So there is no way to have this codec without a `Signer`: the store verifies
the signature before the codec sees a byte, and a value without one, or with a wrong one, is a miss and a `Damage`.
Whoever holds a key can run code in every process that reads with it: treat it as you treat a deployment key.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final

from wellwired.errors import CodecError
from wellwired.stores.signing import Signer

__all__ = ["SignedPickleCodec"]

_PROTOCOL: Final = 5


class SignedPickleCodec:
    """A `Codec` for whatever pickle takes; immutable and safe for threads.

    It does not prove that a value comes back equal: a class decides that for itself.

    Args:
        signer: signs and verifies.
    """

    __slots__ = ("signer",)

    @property
    def id(self) -> str:
        """The name of the format."""
        return "pickle"

    def __init__(self, signer: Signer) -> None:
        if not isinstance(signer, Signer):
            raise TypeError("a pickle is only read with a signature; hand the codec a Signer")
        self.signer = signer
        """The store takes it from here and signs every envelope."""

    def __repr__(self) -> str:
        return f"SignedPickleCodec({self.signer!r})"

    def encode(self, value: Any, /) -> bytes:
        """The pickle of a value.

        Raises:
            CodecError: it cannot be pickled; the text names the type and never the value.
        """
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception as error:  # noqa: BLE001 - a class may raise anything while it is pickled
            name, kind = type(value).__qualname__, type(error).__name__
            raise CodecError(f"pickle cannot encode this {name} ({kind})") from None

    @property
    def decode(self) -> Callable[[bytes], Any]:
        """The method that gives the value of the bytes; to be called after the signature was verified."""
        return pickle.loads
