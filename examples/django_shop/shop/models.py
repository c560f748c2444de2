"""The shop's tables."""

from __future__ import annotations

from django.db import models

__all__ = ["Order", "Product"]


class Product(models.Model):
    """Something that can be ordered while there is stock of it."""

    id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=80)
    cents = models.IntegerField()
    stock = models.IntegerField()

    class Meta:
        db_table = "products"
        constraints = [models.CheckConstraint(condition=models.Q(stock__gte=0), name="products_stock")]

    def __str__(self) -> str:
        return str(self.name)


class Order(models.Model):
    """What a customer has ordered."""

    customer = models.CharField(max_length=80, db_index=True)
    product = models.ForeignKey(Product, models.PROTECT, db_column="product")
    quantity = models.IntegerField()
    cents = models.IntegerField()

    class Meta:
        db_table = "orders"

    def __str__(self) -> str:
        return f"order {self.pk}"
