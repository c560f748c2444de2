"""``python -m benchmarks.turns [kind …]``: managed writes beside their floors, in turns, on a machine that others use.

pytest-benchmark measures one thing after the other, and where the machine is busy in between, the ratio is about that.
Here blocks of some writes are done in turns, and what is divided are lower deciles: the writes that nothing disturbed.
The process is pinned to one core, as in `make bench`.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.bench_writes import counted, item, items, rendered
from tests.servers import FreshDatabases, Servers
from tests.servers.databases import sqlite
from wellwired import Registry, WriteManager
from wellwired.clock import Deadline
from wellwired.containers import pools
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT
from wellwired.settings import SQLSettings
from wellwired.writers.sql import SQLWriter

Work = Callable[[int], Any]
KINDS = ("sqlite", "mariadb", "postgresql")
BLOCK, ROUNDS = 25, 60


@contextmanager
def database(kind: str, servers: Servers) -> Iterator[sa.Engine]:
    """An engine as an application gets it, on a fresh database with the table."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = None if kind == "sqlite" else FreshDatabases(servers.find(kind))
        url = sqlite(Path(folder)) if fresh is None else fresh.make()
        engine = pools.open_engine("sql.bench", SQLSettings.model_validate({"url": url}))
        items.create(engine)
        yield engine
        pools.close_engine(engine)
        if fresh is not None:
            fresh.drop(url)
            fresh.close()


def works(engine: sa.Engine) -> dict[str, Work]:
    """What is measured, the floor first."""
    handler = insert(items, type="item_add")
    writer = SQLWriter("sql.bench", engine, handlers=Registry(handler))
    full = WriteManager([writer], metrics=counted(), logger=rendered())
    quiet = WriteManager([writer], logger=SILENT)

    def core(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(items.insert(), {"id": number, "name": "thing"})

    return {
        "SQLAlchemy Core": core,
        "the writer alone": lambda n: writer.write(item(n), handler=handler, deadline=Deadline.after(5)),
        "a manager without metrics and log": lambda n: quiet.write(item(n)),
        "a managed write": lambda n: full.write(item(n)),
    }


def measure(chosen: dict[str, Work]) -> dict[str, list[float]]:
    """The seconds of each turn of each, in microseconds, sorted."""
    numbers, taken = itertools.count(1), {name: list[float]() for name in chosen}
    for warm in (True, False):
        for _ in range(4 if warm else ROUNDS):
            for name, work in chosen.items():
                for number in itertools.islice(numbers, BLOCK):
                    began = time.perf_counter()
                    work(number)
                    if not warm:
                        taken[name].append((time.perf_counter() - began) * 1e6)
    return {name: sorted(values) for name, values in taken.items()}


def main() -> None:
    """Measures and prints."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    servers = Servers()
    gc.disable()
    print("| | | µs, lower decile | median | beside Core |\n|---|---|---|---|---|")
    for kind in sys.argv[1:] or KINDS:
        with database(kind, servers) as engine:
            taken = measure(works(engine))
        floor = taken["SQLAlchemy Core"]
        for name, values in taken.items():
            low, middle = values[len(values) // 10], values[len(values) // 2]
            print(f"| {kind} | {name} | {low:.0f} | {middle:.0f} | {low / floor[len(floor) // 10]:.2f} |")
    servers.close()


if __name__ == "__main__":
    main()
