"""The application that the tests of the plugin test: one of everything, and nothing behind any of its addresses."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from wellwired import Application, DelegatedStore, Registry, Settings, WriteManager, WriteRequest, handler, providers
from wellwired.handlers.redis import set_value
from wellwired.handlers.sql import insert
from wellwired.stores.loader import LoaderStore

__all__ = ["DEAD", "Desk", "Mail", "Shop", "ShopSettings", "orders", "place", "settings"]

DEAD = "127.0.0.1:1"
"""Where nothing listens."""

orders = sa.Table(
    "orders", sa.MetaData(), sa.Column("order_id", sa.String(20), primary_key=True), sa.Column("cents", sa.Integer)
)


class ShopSettings(Settings):
    """The settings of the shop."""

    extra_layers = ("loader.labels",)


def settings(**groups: Any) -> ShopSettings:
    """Settings whose every server is dead; more of them by keyword."""
    facts: dict[str, Any] = {
        "sql": {"main": {"url": f"postgresql://u:p@{DEAD}/x", "isolation_level": "READ COMMITTED"}},
        "redis": {"cache": {"url": f"redis://{DEAD}"}},
        "stores": {
            "prices": {"layers": "memory:60,redis.cache:3600,sql.main!"},
            "fast": {"layers": [{"name": "redis.cache", "time_limit": 0.05}, {"name": "memory", "primary": True}]},
            "labels": {"layers": "memory,loader.labels!"},
        },
        "writes": {"backoff_base": 0.001, "backoff_cap": 0.002},
        "log": {"level": "CRITICAL"},
    }
    return ShopSettings.load(_environ={}, _env_file=None, **{**facts, **groups})


class Mail:
    """A writer of the application's own, which really sends."""

    name = "http.mail"

    def supports(self, target: str, /) -> bool:
        """Its own target."""
        return target == self.name

    def find_handler(self, type: str, /) -> Any:
        """The same for all."""
        return send

    def register_handler(self, handler: Any, /) -> None:
        """Takes none."""

    def write(self, *_: Any, **__: Any) -> Any:
        """Must not be reached by any test."""
        raise SystemError("a mail was really sent")


@handler("mail_send")
def send(request: WriteRequest, connection: Any) -> None:
    """Is the writer's business."""


class Desk:
    """A service."""

    def __init__(self, writes: WriteManager, prices: DelegatedStore[int]) -> None:
        self.writes, self.prices = writes, prices


def really(key: str) -> Any:
    """Loads from somewhere else."""
    raise SystemError(f"{key} was really loaded")


class Shop(Application):
    """The shop."""

    settings = providers.Singleton(settings)
    handlers = providers.Singleton(
        Registry, insert(orders, type="order_add"), set_value(type="value_set"), handler("mail_send")(send.handle)
    )
    own_writers = providers.List(providers.Singleton(Mail))
    own_layers = providers.Dict({"loader.labels": providers.Singleton(LoaderStore, really)})
    desk = providers.Singleton(Desk, Application.write_manager, Application.stores["prices"])


def place(order_id: str, cents: int = 5) -> WriteRequest:
    """A request for an order."""
    return WriteRequest("sql.main", "order_add", {"order_id": order_id, "cents": cents})
