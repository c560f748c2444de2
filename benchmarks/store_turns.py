"""``python -m benchmarks.store_turns [folder …]``: reads through stores beside their floors, in turns.

As `turns` does for writes: what is compared is done in blocks, one after the other, many times over, and what is
divided are lower deciles. A folder is a source tree with another state of the library, such as one from before a
change; each state runs in a process of its own, all on one core, and takes its turns with the others in one run.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
VALUE = {"user_id": "u1", "name": "Ada", "email": "ada@example.org"}
KEYS = [f"k{n:03d}" for n in range(100)]
ROUNDS = 120
BLOCKS = {"L1": 4000, "threads": 2000, "L2": 40, "many": 8, "cold": 1}
PAIRS = (
    ("L1 hit", "a dict and a TTL check", "L1 ours", "L1 dict"),
    ("L1 hit", "cachetools + RLock", "L1 ours", "L1 cachetools"),
    ("L1 hit, four threads", "a dict and a TTL check", "threads ours", "threads dict"),
    ("L1 hit, four threads", "cachetools + RLock", "threads ours", "threads cachetools"),
    ("L2 hit in Redis, back-fill included", "GET + decode", "L2 ours", "L2 floor"),
    ("L2 hit in Redis, a time limit of 1 s", "GET + decode", "L2 limited", "L2 floor"),
    ("the layer's read alone", "GET + decode", "L2 read", "L2 floor"),
    ("get_many of 100 from Redis", "MGET + decode", "many ours", "many floor"),
)
Work = Callable[[int], list[float]]


def works(url: str) -> dict[str, Work]:
    """What is measured: each does so many and gives the seconds of each, or of one on average."""
    from wellwired.containers.pools import open_redis
    from wellwired.settings import RedisSettings

    client = open_redis("redis.bench", RedisSettings(url=url))  # type: ignore[arg-type]
    return {**in_memory(), **in_redis(client)}


def in_memory() -> dict[str, Work]:
    """Hits in a first layer of memory, and what they are measured against."""
    import cachetools

    from wellwired import DelegatedStore, Layer, MemoryStore

    layers = [Layer(MemoryStore(share=True), ttl=600), Layer(MemoryStore()), Layer(MemoryStore(), primary=True)]
    hot: DelegatedStore[Any] = DelegatedStore(layers)
    hot.set("u1", VALUE)
    cache, lock = cachetools.TTLCache[str, Any](10_000, 600), threading.RLock()
    cache["u1"] = VALUE
    plain: dict[str, tuple[Any, float]] = {"u1": (VALUE, time.monotonic() + 600)}

    def from_dict(key: str) -> Any:
        value, expires = plain[key]
        if expires > time.monotonic():
            return value
        raise KeyError(key)

    def from_cachetools(key: str) -> Any:
        with lock:
            return cache[key]

    return {
        "L1 ours": looped(hot.get, "u1"),
        "L1 dict": looped(from_dict, "u1"),
        "L1 cachetools": looped(from_cachetools, "u1"),
        "threads ours": threaded(hot.get, "u1"),
        "threads dict": threaded(from_dict, "u1"),
        "threads cachetools": threaded(from_cachetools, "u1"),
        "cold ours": crowd(hot),
    }


def in_redis(client: Any) -> dict[str, Work]:
    """Reads of one key and of many that go to Redis, and redis-py by hand."""
    import msgspec

    from wellwired import DelegatedStore, Layer, MemoryStore
    from wellwired.stores.redis import RedisStore

    decode, shared = msgspec.msgpack.Decoder().decode, RedisStore(client, namespace="bench")
    names = [f"p{key}" for key in KEYS]
    client.mset(dict.fromkeys(["plain", *names], msgspec.msgpack.encode(VALUE)))
    memory, other = MemoryStore(), MemoryStore()
    cold: DelegatedStore[Any] = DelegatedStore([Layer(memory, ttl=60), Layer(shared)])
    cold.set("u1", VALUE, ttl=600)
    limited: DelegatedStore[Any] = DelegatedStore([Layer(other, ttl=60), Layer(shared, time_limit=1.0)])
    many: DelegatedStore[Any] = DelegatedStore([Layer(shared)])
    many.set_many(dict.fromkeys(KEYS, VALUE), ttl=600)
    return {
        "L2 ours": timed(lambda: cold.get("u1"), lambda: memory.delete("u1")),
        "L2 limited": timed(lambda: limited.get("u1"), lambda: other.delete("u1")),
        "L2 read": timed(lambda: shared.read("u1"), lambda: memory.delete("u1")),
        "L2 floor": timed(lambda: decode(client.get("plain")), lambda: memory.delete("u1")),
        "many ours": timed(lambda: many.get_many(KEYS), lambda: None),
        "many floor": timed(lambda: [decode(raw) for raw in client.mget(names)], lambda: None),
    }


def looped(get: Callable[[str], Any], key: str) -> Work:
    """Calls that are too short to be timed one by one."""

    def work(count: int) -> list[float]:
        began = time.perf_counter()
        for _ in range(count):
            get(key)
        return [(time.perf_counter() - began) / count]

    return work


def threaded(get: Callable[[str], Any], key: str) -> Work:
    """The same by four threads at once; the seconds of one call, all threads together."""

    def work(count: int) -> list[float]:
        ready = threading.Barrier(5)

        def run() -> None:
            ready.wait()
            for _ in range(count):
                get(key)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for one in threads:
            one.start()
        ready.wait()
        began = time.perf_counter()
        for one in threads:
            one.join()
        return [(time.perf_counter() - began) / count / 4]

    return work


def crowd(store: Any) -> Work:
    """64 threads that ask for one key that is not there, whose loader takes 50 ms; the seconds of each."""
    numbers, loads = itertools.count(), list[str]()

    def load(key: str) -> str:
        loads.append(key)
        time.sleep(0.05)
        return key

    def work(count: int) -> list[float]:
        taken: list[float] = []
        for number in itertools.islice(numbers, count):
            ready = threading.Barrier(64)

            def ask(key: str = f"cold{number}", ready: threading.Barrier = ready) -> None:
                ready.wait()
                began = time.perf_counter()
                store.get_or_load(key, load)
                taken.append(time.perf_counter() - began)

            threads = [threading.Thread(target=ask) for _ in range(64)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
        assert len(loads) == len(set(loads))  # one load for each key, however many ask
        return taken

    return work


def timed(read: Callable[[], Any], before: Callable[[], Any]) -> Work:
    """Calls that are timed one by one, each after something that is not."""

    def work(count: int) -> list[float]:
        taken = []
        for _ in range(count):
            before()
            began = time.perf_counter()
            read()
            taken.append(time.perf_counter() - began)
        return taken

    return work


def serve(url: str) -> None:
    """Does the blocks that it is told to do, by name, until there are no more."""
    gc.disable()
    chosen = works(url)
    print(json.dumps(list(chosen)), flush=True)
    for line in sys.stdin:
        name = line.strip()
        print(json.dumps(chosen[name](BLOCKS[name.split()[0]])), flush=True)


class State:
    """One state of the library, in a process of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}:{HERE}"}
        command = [sys.executable, "-m", "benchmarks.store_turns", "--serve", url]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, cwd=HERE, **pipes)
        self.taken: dict[str, list[float]] = {name: [] for name in self._answer()}

    def block(self, name: str) -> None:
        """Has one block done."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        self.taken[name] += self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def low(self, name: str) -> float:
        """The lower decile, in microseconds."""
        taken = sorted(self.taken[name])
        return taken[len(taken) // 10] * 1e6

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Measures and prints."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return
    from tests.servers import Servers

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    servers = Servers()
    url = servers.find("redis").url
    states = [State(folder, url) for folder in (*map(Path, sys.argv[1:]), HERE)]
    for _ in range(ROUNDS):
        for name in states[-1].taken:
            for state in states:
                state.block(name)
    print("| what | beside | state | µs | floor | ratio |\n|---|---|---|---|---|---|")
    for what, against, ours, floor in PAIRS:
        for state in states:
            low, least = state.low(ours), state.low(floor)
            print(f"| {what} | {against} | {state.folder.name} | {low:.3g} | {least:.3g} | {low / least:.2f} |")
    for state in states:
        taken = sorted(state.taken["cold ours"])
        late, middle = taken[len(taken) * 99 // 100] * 1e3, taken[len(taken) // 2] * 1e3
        print(f"64 threads on a cold key, loader 50 ms, {state.folder.name}: p99 {late:.1f} ms, median {middle:.1f} ms")
        state.close()
    servers.close()


if __name__ == "__main__":
    main()
