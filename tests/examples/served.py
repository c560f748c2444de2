"""What stands around a shop while it is tested: a page that tells about its process, and answers that get lost.

The shops themselves are run as they are.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from wellwired.containers.container import ContainerInstance
from wellwired.errors import WellwiredError

__all__ = ["Served"]

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Served:
    """A shop with a page about its process.

    ``LOSE_EVERY`` in the environment says of how many answers to a POST one is lost: the shop does its work, and the
    client gets a 502, as from a proxy whose connection broke. ``PRODUCTS`` says how many products there are.

    Args:
        shop: the application.
        container: gives its container, started.
    """

    def __init__(self, shop: WSGIApplication, container: Callable[[], ContainerInstance]) -> None:
        self._shop, self._container = shop, container
        self._lose_every = int(os.environ.get("LOSE_EVERY", "0"))
        self._keys = [f"product:{number}" for number in range(1, int(os.environ.get("PRODUCTS", "0")) + 1)]
        self._posts, self._counting = 0, threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves one request."""
        if environ["PATH_INFO"] == "/process":
            body = json.dumps(self._told()).encode()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        if environ["REQUEST_METHOD"] == "POST" and self._is_lost():
            self._consume(environ)
            start_response("502 Bad Gateway", [("Content-Length", "0")])
            return []
        return self._shop(environ, start_response)

    def _is_lost(self) -> bool:
        with self._counting:
            self._posts += 1
            return bool(self._lose_every) and self._posts % self._lose_every == 0

    def _consume(self, environ: dict[str, Any]) -> None:
        body = self._shop(environ, lambda *_args, **_options: None)
        try:
            for _piece in body:
                pass
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    def _told(self) -> dict[str, Any]:
        container = self._container()
        return {"pid": os.getpid(), "in_use": self._in_use(container), "products": self._products(container)}

    @staticmethod
    def _in_use(container: ContainerInstance) -> dict[str, int]:
        """How many connections of each pool are out."""
        in_use: dict[str, int] = {}
        for id in container.ids():
            if id.startswith("sql."):
                in_use[id] = container.resolve(id).pool.checkedout()
            elif id.startswith("redis."):
                pool = container.resolve(id).connection_pool
                idle = [one for one in pool.pool.queue if one is not None]
                in_use[id] = len(pool._connections) - len(idle)
        return in_use

    def _products(self, container: ContainerInstance) -> dict[str, Any]:
        """The products as this process sees them through its store."""
        try:
            found: dict[str, Any] = container.resolve("stores.products").get_many(self._keys)
        except WellwiredError as error:
            return {"error": type(error).__name__}
        return found
