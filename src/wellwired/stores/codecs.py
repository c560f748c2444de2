"""How a value becomes bytes and bytes become a value: MessagePack and JSON, by msgspec, with or without a type.

A codec without a type knows text, bytes, numbers, booleans, None, lists and dicts. Both formats would quietly turn
other things into these: a tuple into a list, a date into text. Here they refuse instead: what comes back is equal to
what was stored, or nothing is stored. With a type (`MsgpackCodec(Profile)`, `JSONCodec(tuple[int, ...])`) they know
every type that msgspec does, and give back the type's own. There is no pickle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, overload, runtime_checkable

import msgspec

from wellwired.errors import CodecError

__all__ = ["Codec", "JSONCodec", "MsgpackCodec"]

T = TypeVar("T")

_CONTAINERS: Final = (list, dict, tuple, set, frozenset)


@runtime_checkable
class Codec(Protocol):
    """Turns values into bytes and back; safe to use from many threads at once.

    `id` is a short ASCII name. It is written beside the bytes, so a codec that writes another format needs another
    one: bytes are only ever handed to the codec by whose name they were written.
    """

    @property
    def id(self) -> str:
        """The name of the format, 1 to 32 ASCII characters."""
        ...

    def encode(self, value: Any, /) -> bytes:
        """The bytes of a value that comes back equal.

        Raises:
            CodecError: it would not; the text names the type and never the value.
        """
        ...

    @property
    def decode(self) -> Callable[[bytes], Any]:
        """The method that gives the value of the bytes; it may be looked up once and called often.

        For bytes that `encode` did not make it may raise anything; a store makes a miss of it.
        """
        ...


class _MsgspecCodec(Generic[T]):
    """What both formats share: the proof that a value comes back."""

    __slots__ = ("_decoder", "_encoder", "_typed")

    id: str

    def __init__(self, encoder: Any, decoder: Any, *, typed: bool) -> None:
        self._encoder, self._decoder, self._typed = encoder, decoder, typed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'typed' if self._typed else ''})"

    @property
    def decode(self) -> Callable[[bytes], T]:
        """The method that gives the value of the bytes: msgspec's own, in C, without a frame of ours around it."""
        decode: Callable[[bytes], T] = self._decoder.decode
        return decode

    def encode(self, value: T, /) -> bytes:
        """The bytes of a value, once it is certain that they will give it back.

        Args:
            value: the value, of the codec's type if it has one.

        Returns:
            Bytes for `decode`.

        Raises:
            CodecError: it cannot be encoded, or would come back as something else.
        """
        try:
            data: bytes = self._encoder.encode(value)
            back = self._decoder.decode(data)
        except CodecError:
            raise
        except RecursionError:
            raise CodecError(f"{self.id} cannot encode a {_name(value)} that contains itself or is too deep") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"{self.id} cannot encode this {_name(value)} ({type(error).__name__})") from None
        if back == value or (self._typed and type(back) is type(value) and type(value) not in _CONTAINERS):
            return data
        if not _alike(value, back):
            raise CodecError(
                f"{self.id} would give this {_name(value)} back as something else; "
                f"hand the codec its type, as in {type(self).__name__}({_name(value)})"
            )
        return data


class MsgpackCodec(_MsgspecCodec[T]):
    """MessagePack: compact, fast, and the default.

    Args:
        type: what is stored, such as a `msgspec.Struct`, a dataclass or ``list[int]``; plain values if left out.
    """

    __slots__ = ()
    id = "msgpack"

    @overload
    def __init__(self: MsgpackCodec[Any]) -> None: ...
    @overload
    def __init__(self, type: type[T]) -> None: ...
    @overload
    def __init__(self: MsgpackCodec[Any], type: Any) -> None: ...
    def __init__(self, type: Any = Any) -> None:
        encoder = msgspec.msgpack.Encoder(enc_hook=_refuse)
        super().__init__(encoder, msgspec.msgpack.Decoder(type), typed=type is not Any)


class JSONCodec(_MsgspecCodec[T]):
    """JSON: readable in the backend, and by programs that are not Python.

    Args:
        type: what is stored, such as a `msgspec.Struct`, a dataclass or ``list[int]``; plain values if left out.
    """

    __slots__ = ()
    id = "json"

    @overload
    def __init__(self: JSONCodec[Any]) -> None: ...
    @overload
    def __init__(self, type: type[T]) -> None: ...
    @overload
    def __init__(self: JSONCodec[Any], type: Any) -> None: ...
    def __init__(self, type: Any = Any) -> None:
        encoder = msgspec.json.Encoder(enc_hook=_refuse)
        super().__init__(encoder, msgspec.json.Decoder(type), typed=type is not Any)


def _refuse(value: Any) -> NoReturn:
    raise CodecError(f"a {_name(value)} cannot be encoded; hand the codec a type that msgspec knows")


def _name(value: Any) -> str:
    return type(value).__qualname__


def _alike(one: Any, other: Any) -> bool:
    """Equality for which a NaN is like any other NaN, for plain values."""
    if type(one) is not type(other):
        return bool(one == other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(item, other[key]) for key, item in one.items())
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
