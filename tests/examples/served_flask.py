"""The Flask shop as gunicorn is given it."""

from __future__ import annotations

from importlib import import_module

from tests.examples.served import Served
from wellwired.integrations.flask import container_of

# By name: both examples call their package `shop`, and a run has the one that is on its path.
shop = import_module("shop.app").create_app()
app = Served(shop, lambda: container_of(shop))
