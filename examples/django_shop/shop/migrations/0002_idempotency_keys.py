"""The table in which the write manager remembers the idempotency keys of orders."""

from django.db import migrations

from wellwired.integrations.django.writer import create_key_table, drop_key_table


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_products_and_orders")]

    operations = [migrations.RunPython(create_key_table, drop_key_table)]
