"""The container of the test project."""

from __future__ import annotations

from tests.integrations.shop import Shop

__all__ = ["DjangoShop"]


class DjangoShop(Shop):
    """What the project serves."""
