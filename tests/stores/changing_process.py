"""One process of several that change the same keys at the same time, and write down what they did.

Run by `test_changes_between_processes` as ``python -m tests.stores.changing_process`` with its orders as JSON in the
last argument. It prints ``ready``, waits for a line, works, and prints what it did.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

from tests.stores.other_process import open_store
from wellwired.stores import MISSING, DelegatedStore, Entry, Layer, MemoryStore
from wellwired.stores.protocols import Store

__all__ = ["KEYS", "careless", "layered"]

KEYS = ("a", "b", "c")


def careless(store: Any) -> Any:
    """The store, made to set what it ought to exchange."""

    def swap(key: str, entry: Entry[Any], token: Any, /) -> bool:
        store.set(key, entry.value, entry.left)
        return True

    store.swap = swap
    store.add = lambda key, entry, /: store.get(key) is None and swap(key, entry, None)
    return store


def layered(truth: Store) -> DelegatedStore[Any]:
    """What each of the processes has: a short memory above the shared primary."""
    return DelegatedStore([Layer(MemoryStore(), ttl=0.05), Layer(truth, primary=True)])


class Worker:
    """The threads of one process."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.orders, self.name = orders, orders["name"]
        truth = open_store(orders["url"])
        self.store = layered(careless(truth) if orders["careless"] else truth)
        self.lock = threading.Lock()
        self.done: list[Any] = []
        self.errors: list[str] = []

    def count(self, chance: random.Random, number: int) -> Any:
        """Adds one to a key."""
        del number
        key = chance.choice(KEYS)
        self.store.update(key, lambda value: 1 if value is MISSING else value + 1)
        return key

    def add(self, chance: random.Random, number: int) -> Any:
        """Adds a key that others want to add as well; None if it was too late."""
        del chance
        key = f"once-{number}"
        return key if self.store.add(key, self.name) else None

    def chain(self, chance: random.Random, number: int) -> Any:
        """Replaces a value by one that nobody has ever seen, amid writes of every kind; which one was replaced."""
        store, key, seen = self.store, chance.choice(KEYS), list[Any]()
        mine = f"{self.name}/{threading.get_ident()}/{number}"

        def change(value: Any) -> Any:
            seen.append(None if value is MISSING else value)
            return mine

        disturb = chance.random()
        if disturb < 0.05:
            store.set(key, f"{mine} was set", ttl=chance.choice([None, 0.01]))
        elif disturb < 0.1:
            store.delete(key)
        elif disturb < 0.12:
            store.clear()
        elif disturb < 0.2:
            store.evict([key])
        elif disturb < 0.25:
            store.add(key, f"{mine} was added")
        elif disturb < 0.3:
            store.touch(key, 60.0)
        store.update(key, change)
        return [seen[-1], mine]

    def work(self, thread: int) -> None:
        """What one thread does."""
        chance = random.Random(f"{self.name}/{thread}")
        does = {"count": self.count, "add": self.add, "chain": self.chain}[self.orders["what"]]
        mine: list[Any] = []
        try:
            mine.extend(does(chance, number) for number in range(self.orders["times"]))
        except Exception as error:  # noqa: BLE001 - told to the test
            self.errors.append(repr(error))
        with self.lock:
            self.done += mine

    def run(self) -> None:
        """The whole life of the process."""
        self.store.get("warm", None)
        print("ready", flush=True)  # noqa: T201 - to the test, as below
        sys.stdin.readline()
        threads = [threading.Thread(target=self.work, args=(number,)) for number in range(self.orders["threads"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        print(json.dumps({"done": self.done, "errors": self.errors}), flush=True)  # noqa: T201


if __name__ == "__main__":
    Worker(json.loads(sys.argv[-1])).run()
