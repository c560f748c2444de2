"""How the values of a shared layer are written: what its settings say about codec, type, compression and signatures."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from wellwired.errors import SettingsError

if TYPE_CHECKING:
    from wellwired.settings import LayerSettings

__all__ = ["type_fault", "written_by"]


def written_by(settings: LayerSettings, keys: tuple[str, ...]) -> dict[str, Any]:
    """What a shared store is handed to write its values with.

    Args:
        settings: the layer's settings.
        keys: the store's signing keys.

    Returns:
        The arguments `codec`, `compression` and `signer` of `RedisStore` and `SQLStore`.

    Raises:
        MissingExtraError: compression needs the extra ``zstd``.
        SettingsError: the type cannot be imported, or is none that values can be checked against.
    """
    from wellwired.stores.signing import Signer

    signer = Signer(*keys) if keys else None
    return {"codec": _codec(settings, signer), "compression": _compression(settings), "signer": signer}


def type_fault(settings: LayerSettings) -> str:
    """Why values of the type that a layer's settings name cannot be written; "" if they can, or none is named.

    Imports the type's module.

    Args:
        settings: the layer's settings.
    """
    if settings.type is None:
        return ""
    try:
        _codec(settings, None)
    except SettingsError as error:
        return error.faults[0]
    return ""


def _codec(settings: LayerSettings, signer: Any) -> Any:
    from wellwired.stores.codecs import JSONCodec, MsgpackCodec

    if settings.codec == "pickle":
        from wellwired.stores.pickling import SignedPickleCodec

        return SignedPickleCodec(signer)
    kind: Any = JSONCodec if settings.codec == "json" else MsgpackCodec
    if settings.type is None:
        return kind()
    try:
        return kind(_imported(settings.type))
    except Exception as error:
        text = f"layer {settings.name}: the type {settings.type} cannot be used ({type(error).__name__})"
        raise SettingsError([f"{text}; write it as module:name"]) from error


def _compression(settings: LayerSettings) -> Any:
    if settings.compression is None:
        return None
    from wellwired.stores.compression import Zstd

    return Zstd(above=settings.compress_above, limit=settings.largest)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))
