"""The wiring of the shop, all of it: what there is, and who is given what.

The Redis, its writer and the stores follow from the environment (see `.env.example`), the database is Django's; here is
what is the shop's own.
"""

from __future__ import annotations

from shop.database import ping
from shop.handlers import order_place, price_set, view_count
from shop.services import Catalogue, Orders, Views, open_snapshot, product_of, products_of
from wellwired import Application, Registry, Settings, providers
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.stores.loader import LoaderStore

__all__ = ["Shop", "ShopSettings"]


class ShopSettings(Settings):
    """The settings, in which a store may name the products of Django's database as a layer."""

    extra_layers = ("orm.products",)


class Shop(Application):
    """The shop."""

    settings = providers.Singleton(ShopSettings.load)
    handlers = providers.Singleton(Registry, order_place, price_set, view_count)
    # Its connections are Django's; the container knows the alias, for its writer and for `/health`.
    database = providers.Resource(str, "default").pinged_by(ping)
    own_writers = providers.List(providers.Singleton(DjangoWriter, database, handlers))

    # It only reads: prices and stock are changed by the write manager, in transactions.
    own_layers = providers.Dict({"orm.products": providers.Singleton(LoaderStore, product_of, many=products_of)})

    catalogue = providers.Singleton(Catalogue, Application.stores["products"], Application.write_manager)
    orders = providers.Singleton(Orders, Application.write_manager)
    views = providers.Singleton(Views, Application.write_manager)
    snapshot = providers.Scoped(open_snapshot)
