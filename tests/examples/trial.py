"""One trial of a shop: load from many clients, workers killed and Redis restarted meanwhile, and then the books.

Every check gives lines about what is wrong; a trial is passed if there are none. The same checks are held against
shops and clients that are wrong on purpose.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.examples.backends import Copies, Database
from tests.examples.gunicorn_server import ROOT, Gunicorn
from tests.examples.ledger import (
    Ledger,
    Product,
    agreement,
    orders_as_told,
    prices_as_told,
    stock_adds_up,
    views_as_told,
)
from tests.examples.load import Line, at_work
from tests.examples.sockets import sharing
from tests.examples.waiting import until
from tests.servers import PrivateServer

__all__ = ["DJANGO", "FLASK", "PRODUCTS", "Shop", "Trial"]

PRODUCTS = 6
STOCK = dict.fromkeys(range(1, PRODUCTS), 100_000) | {PRODUCTS: 12}
POOL = 5
WORKERS = 2


_FAILURES = ("Exception in worker", "failed to boot", "WORKER TIMEOUT", "deadlock", "RuntimeError", "TypeError")


@dataclass(frozen=True)
class Shop:
    """An example as it is run.

    Args:
        name: what it is called, and its folder.
        create: the arguments of Python that create its tables.
        database: the variable that names its database.
        environ: settings of its own.
        shelf: a page that it keeps as a whole, if it has one.
    """

    name: str
    create: tuple[str, ...]
    database: str
    environ: Mapping[str, str]
    shelf: str = ""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / "examples" / f"{self.name}_shop"

    @property
    def app(self) -> str:
        """What gunicorn is given."""
        return f"tests.examples.served_{self.name}:app"


FLASK = Shop(
    "flask",
    ("-m", "flask", "--app", "shop.app", "create-tables"),
    "WELLWIRED__SQL__MAIN__URL",
    {
        "WELLWIRED__SQL__MAIN__POOL_SIZE": str(POOL),
        "WELLWIRED__SQL__MAIN__MAX_OVERFLOW": "0",
        "WELLWIRED__STORES__PRODUCTS__LAYERS": "memory:1,redis.cache:300,table.products!",
    },
)
DJANGO = Shop(
    "django",
    ("-m", "django", "migrate", "--verbosity=0"),
    "SHOP_DATABASE_URL",
    {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "WELLWIRED__STORES__PRODUCTS__LAYERS": "memory:1,redis.cache:300,orm.products!",
        "WELLWIRED__STORES__PAGES__LAYERS": "memory:1,redis.cache!",
    },
    shelf="/products",
)


class Trial:
    """A shop with its servers.

    Args:
        shop: which one.
        sql_url: a fresh database.
        redis: a server of the trial's own, which is killed and started again.
        home: a folder for what is written.
        sql: the database's server, if it is the trial's own: then it is killed and started again too.
    """

    def __init__(
        self, shop: Shop, sql_url: str, redis: PrivateServer, home: Path, *, sql: PrivateServer | None = None
    ) -> None:
        self.shop, self.redis, self.home, self.sql = shop, redis, home, sql
        self.database, self.copies = Database(sql_url), Copies(redis.url)
        self.environ = {
            shop.database: self.database.url,
            "WELLWIRED__REDIS__CACHE__URL": redis.url,
            "WELLWIRED__REDIS__CACHE__SOCKET_TIMEOUT": "1",
            "WELLWIRED__LOG__LEVEL": "ERROR",
            "PRODUCTS": str(PRODUCTS),
            "LOSE_EVERY": "9",
        } | dict(shop.environ)
        self._create()

    def _create(self) -> None:
        paths = [str(path) for path in (self.shop.folder, *sys.path) if path]
        environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(map(str, paths))} | self.environ
        done = subprocess.run(
            [sys.executable, *self.shop.create],
            env=environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        self.database.fill(STOCK)

    @property
    def ports(self) -> tuple[int, int]:
        """Where the servers listen."""
        return self.database.port, self.copies.port

    def serve(self, *, preload: bool, app: str = "") -> Gunicorn:
        """Starts gunicorn with the shop, or with another application around it."""
        paths = [self.shop.folder]
        return Gunicorn(
            app or self.shop.app, environ=self.environ, home=self.home, paths=paths, preload=preload, workers=WORKERS
        )

    def run(self, *, preload: bool, orders: int, clients: int = 4, rounds: int = 1) -> str:
        """The whole of it.

        Args:
            preload: whether gunicorn loads the shop before it forks.
            orders: how many are placed at least before the first fault, and after each.
            clients: how many threads place them.
            rounds: how often each fault happens.

        Returns:
            What was counted, in one line.

        Raises:
            AssertionError: a check has found something; all of them are told.
        """
        faults: list[str] = []
        with self.serve(preload=preload) as server:
            with at_work(server.port, clients=clients, products=PRODUCTS, shelf=self.shop.shelf) as ledger:
                ordeals = self._ordeals(server, ledger) * rounds
                for ordeal in ordeals:
                    ledger.wait_for(ledger.progress + orders)
                    faults += self.connections(server)
                    ordeal()
                ledger.wait_for(ledger.progress + orders)
                faults += self.connections(server)
            faults += self.books(ledger) + self.pools(server)
            server.stop()
            faults += self.left_behind(server)
        assert faults == [], f"{len(faults)} faults: {faults[:20]}"
        assert ledger.open == set(), "an order never got an answer"
        return self._counted(ledger, len(ordeals))

    def _ordeals(self, server: Gunicorn, ledger: Ledger) -> list[Callable[[], object]]:
        def restart_redis() -> None:
            self.redis.kill()
            ledger.wait_for(ledger.progress + 20)
            self.redis.start()

        killed, ended = (lambda: server.replace(signal.SIGKILL)), (lambda: server.replace(signal.SIGTERM))
        if self.sql is not None:
            return [self._restart_database, killed, self._restart_database, restart_redis]
        return [killed, ended, self.database.cut, restart_redis]

    def _restart_database(self) -> None:
        assert self.sql is not None
        self.sql.kill()
        self.sql.start()

    # --- checks

    def books(self, ledger: Ledger) -> list[str]:
        """Whether the tables say what the clients were told."""
        rows, products = self.database.orders(), self.database.products()
        faults = orders_as_told(ledger, rows) + stock_adds_up(STOCK, products, rows)
        return faults + prices_as_told(ledger, products) + views_as_told(ledger, self.copies.views(STOCK))

    def connections(self, server: Gunicorn) -> list[str]:
        """Whether, in the middle of the work, each connection is one worker's, and the servers see the same ones."""
        shared: list[str] = []
        blind: list[str] = []

        def looked() -> bool:
            seen = {"database": self.database.client_ports(), "Redis": self.copies.client_ports()}
            holders = server.holders(self.ports)
            shared.extend(sharing(server.master, holders))
            held = {one.port for sockets in holders.values() for one in sockets}
            blind[:] = [f"no worker is seen to be connected to the {name}" for name in seen if not seen[name] & held]
            return not blind

        # A connection may last no longer than a request, and be gone between the two looks.
        with suppress(AssertionError):
            until(looked, "a worker is connected to each server", seconds=15)
        return [*dict.fromkeys(shared), *blind]

    def pools(self, server: Gunicorn) -> list[str]:
        """Whether, with nothing to do, nothing is out of a pool, nothing is held too much, and all see the truth."""
        truth = self.database.products()
        faults: list[str] = []

        def settled() -> bool:
            faults[:] = self._unsettled(self._told_by_all(server), truth)
            return not faults

        # What a worker has in its own memory may be a second old; what a write could not reach is removed by then.
        with suppress(AssertionError):
            until(settled, "all is given back, and every copy is true", seconds=20)
        if self.shop.shelf and (answer := Line(server.port).once("GET", self.shop.shelf)) and answer[0] != 200:
            faults.append(f"{self.shop.shelf} is answered with {answer[0]}")
        holders = server.holders(self.ports)
        faults += sharing(server.master, holders)
        ports = {one.port for sockets in holders.values() for one in sockets}
        for name, seen in (("database", self.database.client_ports()), ("Redis", self.copies.client_ports())):
            if strays := seen - ports:
                faults.append(f"the {name} has {len(strays)} connections that no worker holds")
        if (many := len(self.database.client_ports())) > WORKERS * POOL:
            faults.append(f"the database has {many} connections of {WORKERS} workers with {POOL} each")
        return faults

    def _unsettled(self, told: list[dict[str, Any]], truth: Mapping[int, Product]) -> list[str]:
        faults = [f"{count} of {pool} are in use" for one in told for pool, count in one["in_use"].items() if count]
        for one in told:
            rows = {number: one["products"].get(f"product:{number}") for number in truth}
            seen = {number: row and Product(row["stock"], row["cents"]) for number, row in rows.items()}
            faults += [f"a worker has no product {number}" for number, product in seen.items() if product is None]
            faults += [f"a worker sees {line}" for line in agreement(truth, seen)]
        if begun := self.database.open_transactions():
            faults.append(f"{begun} transactions were begun and not ended")
        return faults + [f"Redis has {line}" for line in agreement(truth, self.copies.products(truth))]

    def _told_by_all(self, server: Gunicorn) -> list[dict[str, Any]]:
        """What each worker tells about itself; who is asked is the kernel's choice, so many ask at once."""
        told: dict[int, dict[str, Any]] = {}

        def ask() -> None:
            answer = Line(server.port).once("GET", "/process")
            if answer is not None and answer[0] == 200:
                told[answer[1]["pid"]] = answer[1]

        def asked() -> bool:
            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return told.keys() >= server.workers()

        until(asked, "every worker has told about itself")
        return list(told.values())

    def left_behind(self, server: Gunicorn) -> list[str]:
        """Whether anything is left of the shop after its end."""
        with suppress(AssertionError):
            until(lambda: not self.database.client_ports() | self.copies.client_ports(), "all are closed", seconds=15)
        left = {"database": self.database.client_ports(), "Redis": self.copies.client_ports()}
        faults = [
            f"{len(ports)} connections to the {name} have outlived the shop" for name, ports in left.items() if ports
        ]
        # That a worker prints what a cut connection did to a page is in order; that it does not work is not.
        return faults + [line for line in server.log.splitlines() if any(words in line for words in _FAILURES)]

    def _counted(self, ledger: Ledger, ordeals: int) -> str:
        told = {name: ledger.counts[name] for name in sorted(ledger.counts)}
        place = f"{self.shop.name} on {'PostgreSQL' if self.database.postgresql else 'MariaDB'}"
        orders = f"{len(ledger.acknowledged)} orders acknowledged and there once, {len(ledger.refused)} refused and not"
        return f"{place}: {orders}, {ordeals} ordeals; {json.dumps(told)}"
