"""What Flask-Caching makes a cache on a layered store with.

::

    app.config["CACHE_TYPE"] = "wellwired.integrations.flask_caching.store_cache"
    app.config["CACHE_STORE"] = "stores.pages"

Flask-Caching hands the application to every maker of caches but to those that have "cachelib" in their names. So the
cache that this one makes also works outside of an application context, where that of
``wellwired.integrations.cachelib.StoreCache`` cannot know whose container is meant. Otherwise they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wellwired.integrations.cachelib import StoreCache

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["store_cache"]


def store_cache(app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> StoreCache:
    """Makes the cache of an application on the store that its ``CACHE_STORE`` names; see `StoreCache.factory`.

    Args:
        app: the application.
        config: its settings.
        args: what else to make the cache of, by position.
        kwargs: what else to make the cache of, by name.

    Raises:
        StateError: no store is named.
    """
    return StoreCache.factory(app, config, args, kwargs)
