"""The shop's tables."""

from __future__ import annotations

import sqlalchemy as sa

from wellwired.writers import idempotency

__all__ = ["create", "orders", "products"]

metadata = sa.MetaData()

products = sa.Table(
    "products",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
    sa.Column("stock", sa.Integer, nullable=False),
    sa.CheckConstraint("stock >= 0", name="products_stock"),
    mysql_engine="InnoDB",
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("customer", sa.String(80), nullable=False, index=True),
    sa.Column("product", sa.ForeignKey(products.c.id), nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("cents", sa.Integer, nullable=False),
    mysql_engine="InnoDB",
)


def create(engine: sa.Engine) -> None:
    """Creates what is not there yet, the table of idempotency keys included; a larger shop has migrations for it."""
    metadata.create_all(engine)
    idempotency.create_tables(engine)
