"""The asynchronous twins of a cache's methods: each is its plain method, called by a thread.

The base class makes most of them of awaits on other twins, one after another: a round trip for each key, and an `aincr`
that loses counts, whatever the plain methods do. Here a twin is one hop to a thread and exactly what its plain method
is. The thread is any one: a store may be used from all of them, and Django's own single thread would make every
request of a process wait in line.

The twins of reading are the cache's own: what lies in memory needs no thread, which costs more than thirty such reads.
"""

# The timeouts are Django's, and about values.
# ruff: noqa: ASYNC109

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

__all__ = ["Twins"]


class Twins(BaseCache):
    """A cache whose asynchronous methods are its plain ones in a thread."""

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """See `add`."""
        return await sync_to_async(self.add, thread_sensitive=False)(key, value, timeout, version)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """See `set`."""
        await sync_to_async(self.set, thread_sensitive=False)(key, value, timeout, version)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """See `touch`."""
        return await sync_to_async(self.touch, thread_sensitive=False)(key, timeout, version)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """See `delete`."""
        return await sync_to_async(self.delete, thread_sensitive=False)(key, version)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """See `get_or_set`; the default is called where other synchronous code of the request runs."""
        found = await self.aget(key, self._missing_key, version)
        if found is not self._missing_key:
            return found
        return await sync_to_async(self.get_or_set, thread_sensitive=True)(key, default, timeout, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """See `incr`."""
        return await sync_to_async(self.incr, thread_sensitive=False)(key, delta, version)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """See `decr`."""
        return await sync_to_async(self.decr, thread_sensitive=False)(key, delta, version)

    async def aset_many(
        self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """See `set_many`."""
        return await sync_to_async(self.set_many, thread_sensitive=False)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """See `delete_many`."""
        await sync_to_async(self.delete_many, thread_sensitive=False)(keys, version)

    async def aclear(self) -> None:
        """See `clear`."""
        await sync_to_async(self.clear, thread_sensitive=False)()

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """See `incr_version`."""
        return await sync_to_async(self.incr_version, thread_sensitive=False)(key, delta, version)

    async def adecr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """See `decr_version`."""
        return await sync_to_async(self.decr_version, thread_sensitive=False)(key, delta, version)

    async def aclose(self, **kwargs: Any) -> None:
        """See `close`."""
        self.close(**kwargs)
