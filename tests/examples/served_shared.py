"""A Flask shop gone wrong, for the tests of the trial: it connects when it is imported, by an engine nobody renews.

Loaded before the fork, its workers talk to the database over one connection.
"""

from __future__ import annotations

import os
from importlib import import_module

import sqlalchemy as sa

from tests.examples.served import Served
from wellwired.integrations.flask import container_of

engine = sa.create_engine(os.environ["WELLWIRED__SQL__MAIN__URL"])
engine.connect().close()
shop = import_module("shop.app").create_app(import_module("shop.containers").Shop(overrides={"sql.main": engine}))
app = Served(shop, lambda: container_of(shop))
