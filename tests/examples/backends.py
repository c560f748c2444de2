"""The servers behind a shop, asked past the shop: what they hold, and from which ports they are talked to."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from tests.examples.ledger import Ordered, Product
from tests.servers.admin import execute, redis_client
from wellwired.stores.redis import RedisStore

__all__ = ["Copies", "Database"]


class Database:
    """The shop's database.

    Args:
        url: a fresh one, on PostgreSQL or MariaDB.
    """

    def __init__(self, url: str) -> None:
        self._url, self._mark = url, f"shop-{secrets.token_hex(4)}"
        self._parsed = make_url(url)
        self.postgresql = self._parsed.get_backend_name() == "postgresql"

    @property
    def url(self) -> str:
        """What the shop is given; it makes its connections known by it."""
        marked = self._parsed.update_query_dict({"application_name": self._mark}) if self.postgresql else self._parsed
        return marked.render_as_string(hide_password=False)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._parsed.port or (5432 if self.postgresql else 3306)

    def fill(self, stock: dict[int, int]) -> None:
        """Puts products in."""
        rows = ", ".join(f"({number}, 'p{number}', 100, {count})" for number, count in stock.items())
        execute(self._url, f"INSERT INTO products (id, name, cents, stock) VALUES {rows}")

    def orders(self) -> list[Ordered]:
        """The whole table."""
        rows = execute(self._url, "SELECT customer, product, quantity, id FROM orders")
        return [Ordered(*row) for row in rows]

    def products(self) -> dict[int, Product]:
        """The whole table."""
        return {row[0]: Product(row[1], row[2]) for row in execute(self._url, "SELECT id, stock, cents FROM products")}

    def cut(self) -> None:
        """Has the server end every connection of the shop, whatever is under way on it."""
        if self.postgresql:
            execute(
                self._url,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{self._mark}'",
            )
            return
        asked = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for row in execute(self._url, asked):
            with suppress(DBAPIError):  # it has left by itself
                execute(self._url, f"KILL {row[0]}")

    def open_transactions(self) -> int:
        """How many transactions the shop has begun and not ended."""
        asked = (
            "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist "
            "ON trx_mysql_thread_id = id WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        if self.postgresql:
            mine = f"application_name = '{self._mark}' AND xact_start IS NOT NULL"
            asked = f"SELECT count(*) FROM pg_stat_activity WHERE {mine}"
        count: int = execute(self._url, asked)[0][0]
        return count

    def client_ports(self) -> set[int]:
        """From where the shop is connected, as the server sees it."""
        if self.postgresql:
            asked = f"SELECT client_port FROM pg_stat_activity WHERE application_name = '{self._mark}'"
            return {row[0] for row in execute(self._url, asked)}
        asked = "SELECT host FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        return {int(row[0].rpartition(":")[2]) for row in execute(self._url, asked)}


class Copies:
    """The shop's Redis.

    Args:
        url: of a server that nobody else uses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 6379

    def client_ports(self) -> set[int]:
        """From where the shop is connected, as the server sees it."""
        with redis_client(self.url) as client:
            own = client.client_id()
            return {int(one["addr"].rpartition(":")[2]) for one in client.client_list() if int(one["id"]) != own}

    def products(self, numbers: Collection[int]) -> dict[int, Product | None]:
        """The copies of products, None where there is none."""
        keys = {f"product:{number}": number for number in numbers}
        with redis_client(self.url) as client:
            found = RedisStore(client, namespace="products").get_many(list(keys))
        seen: dict[int, Product | None] = dict.fromkeys(numbers)
        for key, entry in found.items():
            seen[keys[key]] = Product(entry.value["stock"], entry.value["cents"])
        return seen

    def views(self, numbers: Collection[int]) -> dict[int, int]:
        """How often each product was looked at."""
        with redis_client(self.url) as client:
            return {number: int(client.get(f"shop:views:{number}") or 0) for number in numbers}
