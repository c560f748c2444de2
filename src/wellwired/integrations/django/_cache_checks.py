"""System checks of caches on stores, before anything connects.

::

    id              what is wrong
    wellwired.E020  a cache in CACHES is on no store of the container, or has options
    wellwired.W020  a cache reads pickles that nobody has signed, from a layer that others share (with --deploy)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils.module_loading import import_string

from wellwired.errors import UnknownProviderError
from wellwired.integrations.django._project import container
from wellwired.integrations.django.cache import StoreCache
from wellwired.settings import Settings

__all__ = ["check_caches", "check_signatures"]

_LOCATION = 'LOCATION is the store\'s id in the container, such as "stores.cache"'
_SIGNING = "whoever can write there can run code in this process; set SIGNING_KEYS of the store"


def check_caches(**_: Any) -> list[checks.CheckMessage]:
    """An error for each cache of ours that could not be used."""
    return [
        checks.Error(f"the cache {alias!r}: {fault}", hint=_LOCATION, id="wellwired.E020")
        for alias, params in _ours()
        if (fault := _fault(params))
    ]


def check_signatures(**_: Any) -> list[checks.CheckMessage]:
    """A warning for each cache of ours that unpickles what others could have written."""
    return [
        checks.Warning(f"the cache {alias!r} reads unsigned pickles from {layer}", hint=_SIGNING, id="wellwired.W020")
        for alias, params in _ours()
        if _fault(params) is None and (layer := _unsigned(str(params["LOCATION"])))
    ]


def _ours() -> Iterator[tuple[str, dict[str, Any]]]:
    """The caches of the settings that are on stores."""
    for alias, params in settings.CACHES.items():
        try:
            backend = import_string(params.get("BACKEND", ""))
        except ImportError:
            continue  # Django tells of it itself
        if isinstance(backend, type) and issubclass(backend, StoreCache):
            yield alias, {**params, "class": backend}


def _fault(params: dict[str, Any]) -> str | None:
    """Why a cache could not be used; None if it could, and empty if the container is at fault, which has own checks."""
    options = {name: value for name, value in params.items() if name not in ("BACKEND", "LOCATION", "class")}
    location = params.get("LOCATION", "")
    try:
        cache: StoreCache = params["class"](location, options)
        if cache.fault:
            return cache.fault
        if cache.in_container:
            container(start=False).provider(location)
    except UnknownProviderError as error:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever keeps the container from being made is told by its own checks
        return ""
    return None


def _unsigned(location: str) -> str:
    """The first shared layer of a store whose values are not signed; empty if all are, or nobody knows."""
    family, _, name = location.partition(".")
    chosen = container(start=False).providers.get("settings")
    found = None if chosen is None else chosen()
    if family != "stores" or not isinstance(found, Settings):
        return ""
    store = found.stores.get(name)
    if store is None or store.signing_keys:
        return ""
    return next((layer.name for layer in store.layers if layer.name.partition(".")[0] in ("redis", "sql")), "")
