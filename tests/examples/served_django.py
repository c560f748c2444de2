"""The Django shop as gunicorn is given it."""

from __future__ import annotations

from importlib import import_module

from tests.examples.served import Served
from wellwired.integrations.django import container

app = Served(import_module("shop.wsgi").application, container)
