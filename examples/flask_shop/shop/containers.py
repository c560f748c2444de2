"""The wiring of the shop, all of it: what there is, and who is given what.

Pools, writers and stores follow from the environment (see `.env.example`); here is what is the shop's own.
"""

from __future__ import annotations

from shop.handlers import order_place, price_set, view_count
from shop.services import Catalogue, Orders, Views, open_reading
from shop.tables import products
from wellwired import Application, Registry, Settings, providers
from wellwired.stores.table import TableKey, TableStore

__all__ = ["Shop", "ShopSettings"]


class ShopSettings(Settings):
    """The settings, in which a store may name the table of products as a layer."""

    extra_layers = ("table.products",)


class Shop(Application):
    """The shop."""

    settings = providers.Singleton(ShopSettings.load)
    handlers = providers.Singleton(Registry, order_place, price_set, view_count)

    # It only reads: prices and stock are changed by the write manager, in transactions.
    product_table = providers.Singleton(
        TableStore, Application.sql["main"], products, key=TableKey(prefix="product:"), read_only=True
    )
    own_layers = providers.Dict({"table.products": product_table})

    catalogue = providers.Singleton(Catalogue, Application.stores["products"], Application.write_manager)
    orders = providers.Singleton(Orders, Application.write_manager)
    views = providers.Singleton(Views, Application.write_manager)
    reading = providers.Scoped(open_reading, Application.sql["main"])
