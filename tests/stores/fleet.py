"""One process of a fleet: writes, deletes and reads at random through memory, a shared Redis and a shared SQL primary.

Run by `test_fleet` as ``python -m tests.stores.fleet`` with its orders as JSON in the last argument. It prints
``ready``, waits for a line, works until it is told to end by another, lets its layers mend, and prints what it counted.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from wellwired.errors import StoreError
from wellwired.stores import DelegatedStore, FillPolicy, Layer, LoadPolicy, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

NAMESPACE = "fleet"
KEYS = [f"k{number}" for number in range(12)]
TAGS = ["t0", "t1", "t2"]


def connect(orders: dict[str, Any]) -> tuple[redis.Redis, sa.Engine]:
    """The shared servers, with limits for waiting as an application would set them."""
    limits = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "retry": None}
    client = redis.Redis.from_url(orders["redis"], **limits)
    patience = {"timeout": 30.0} if orders["sql"].startswith("sqlite") else {}
    return client, sa.create_engine(orders["sql"], connect_args=patience, pool_size=8)


class Worker:
    """The threads of one process, and what they counted."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders = orders
        self.client, self.engine = connect(orders)
        layers = [
            Layer(MemoryStore(), ttl=0.05),
            Layer(RedisStore(self.client, namespace=NAMESPACE), name="redis"),
            Layer(SQLStore(self.engine, namespace=NAMESPACE), primary=True),
        ]
        policy = FillPolicy(mend=0.05)
        self.store: DelegatedStore[Any] = DelegatedStore(layers, fills=policy, loads=LoadPolicy(lease=1.0))
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self.lock = threading.Lock()

    def work(self, number: int) -> None:
        """One thread: random operations until it is over."""
        me, chance = self.orders["name"], random.Random(f"{self.orders['seed']}/{self.orders['name']}/{number}")
        step = 0
        while not self.over.is_set():
            step += 1
            verb = chance.choices(
                ["get", "set", "delete", "many", "load", "tags", "clear"], [10, 4, 2, 3, 2, 0.3, 0.1]
            )[0]
            try:
                self.do(verb, chance, f"{me}/{number}/{step}")
                outcome = verb
            except (StoreError, SQLAlchemyError) as error:
                outcome = f"{verb} {type(error).__name__}"
            with self.lock:
                self.counts[outcome] += 1

    def do(self, verb: str, chance: random.Random, value: str) -> None:
        """One operation."""
        store, key = self.store, chance.choice(KEYS)
        if verb == "get":
            store.get(key, None)
        elif verb == "set":
            store.set(key, value, ttl=600.0, tags=chance.choice([(), (chance.choice(TAGS),)]))
        elif verb == "delete":
            store.delete(key)
        elif verb == "many":
            store.get_many(chance.sample(KEYS, 5))
        elif verb == "load":
            store.get_or_load(key, lambda _: f"loaded {value}", ttl=600.0, timeout=1.0)
        elif verb == "tags":
            store.invalidate_tags([chance.choice(TAGS)])
        elif verb == "clear":
            store.clear()

    def run(self) -> None:
        """The whole life of the process."""
        print("ready", flush=True)  # noqa: T201 - to the test, as below
        sys.stdin.readline()
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(self.orders["threads"])]
        for thread in threads:
            thread.start()
        sys.stdin.readline()
        self.over.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads), "a thread does not end"
        self.settle()
        stats = self.store.stats().layers[1]
        facts = {"counts": dict(self.counts), "doubtful": stats.doubtful + stats.doubted, "refused": stats.refused}
        print(json.dumps(facts), flush=True)  # noqa: T201
        with suppress(ExceptionGroup):
            self.store.close()
        self.client.close()
        self.engine.dispose()

    def settle(self) -> None:
        """Waits until nothing is filled and nothing is in doubt any more."""
        self.store.flush(30)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            stats = self.store.stats().layers[1]
            if not (stats.doubtful or stats.doubted):
                return
            threading.Event().wait(0.02)


if __name__ == "__main__":
    Worker(json.loads(sys.argv[-1])).run()
