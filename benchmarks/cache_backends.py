"""``python -m benchmarks.cache_backends``: our caches for Django and Flask beside the frameworks' own, in turns.

Every kind does a block of calls in its turn, over and over, so that what else the machine does falls on all of them;
what is divided are lower deciles of the blocks. The process is pinned to one core, as in `make bench`; the Redis server
runs on the same machine. `python -m benchmarks.cache_backends hit` measures some of the rows.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings as django_settings
from flask import Flask
from flask_caching import Cache

from tests.servers import FreshRedis, Servers
from wellwired import Application, Settings, providers
from wellwired.integrations.flask import Wellwired, container_of

Call = Callable[[], object]
Turns = Mapping[str, Call]

USER = {"user_id": "u1", "name": "Ada", "email": "ada@example.org"}
KEYS = [f"user:{number}" for number in range(20)]
BLOCK, ROUNDS = {"memory": 200, "redis": 20}, 300
STORES = {"memory": "memory!", "redis": "redis.cache!", "both": "memory:60,redis.cache!"}


def container_class(url: str) -> type[Application]:
    """An application with three stores."""

    class Shop(Application):
        settings = providers.Singleton(
            Settings.load,
            redis={"cache": {"url": url}},
            stores={name: {"layers": text} for name, text in STORES.items()},
        )

    return Shop


@contextmanager
def django_caches(urls: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Ours and Django's, each with data of its own."""
    django_settings.configure(
        INSTALLED_APPS=["wellwired.integrations.django"],
        WELLWIRED={"CONTAINER": container_class(next(urls))},
        CACHES={
            "ours, memory": _backend("wellwired.integrations.django.cache.StoreCache", "stores.memory"),
            "ours, Redis": _backend("wellwired.integrations.django.cache.StoreCache", "stores.redis"),
            "ours, memory and Redis": _backend("wellwired.integrations.django.cache.StoreCache", "stores.both"),
            "LocMemCache": _backend("django.core.cache.backends.locmem.LocMemCache", "bench"),
            "RedisCache": _backend("django.core.cache.backends.redis.RedisCache", next(urls)),
            "django-redis": _backend("django_redis.cache.RedisCache", next(urls)),
        },
        LOGGING_CONFIG=None,
    )
    import django
    from django.core.cache import caches

    from wellwired.integrations.django import container

    django.setup()
    # The backend itself: `caches[...]` costs the same for all of them.
    yield {name: caches[name] for name in django_settings.CACHES}
    container().stop()


def _backend(path: str, location: str) -> dict[str, str]:
    return {"BACKEND": path, "LOCATION": location}


@contextmanager
def flask_caches(urls: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Ours and Flask-Caching's own."""
    app, ours = Flask("bench"), "wellwired.integrations.flask_caching.store_cache"
    Wellwired(app, container=container_class(next(urls)))
    made = {
        "ours, memory": Cache(app, config={"CACHE_TYPE": ours, "CACHE_STORE": "stores.memory"}),
        "ours, Redis": Cache(app, config={"CACHE_TYPE": ours, "CACHE_STORE": "stores.redis"}),
        "ours, memory and Redis": Cache(app, config={"CACHE_TYPE": ours, "CACHE_STORE": "stores.both"}),
        "SimpleCache": Cache(app, config={"CACHE_TYPE": "SimpleCache"}),
        "RedisCache": Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": next(urls)}),
    }
    with app.app_context():
        yield made
    container_of(app).stop()


def measure(chosen: Turns, block: int) -> dict[str, float]:
    """The seconds of one call of each: the lower decile of its blocks."""
    taken: dict[str, list[float]] = {name: [] for name in chosen}
    for turn in range(ROUNDS + 10):
        for name, call in chosen.items():
            began = time.perf_counter()
            for _ in range(block):
                call()
            if turn >= 10:
                taken[name].append((time.perf_counter() - began) / block)
    return {name: sorted(values)[len(values) // 10] for name, values in taken.items()}


def measure_awaited(caches: Mapping[str, Any], block: int) -> dict[str, float]:
    """The same for asynchronous reads, in one event loop."""

    async def run() -> dict[str, float]:
        taken: dict[str, list[float]] = {name: [] for name in caches}
        for turn in range(ROUNDS + 10):
            for name, cache in caches.items():
                began = time.perf_counter()
                for _ in range(block):
                    await cache.aget("user:1")
                if turn >= 10:
                    taken[name].append((time.perf_counter() - began) / block)
        return {name: sorted(values)[len(values) // 10] for name, values in taken.items()}

    return asyncio.run(run())


def show(framework: str, what: str, seconds: Mapping[str, float]) -> None:
    """Prints a row for each of ours beside each of theirs."""
    theirs = [name for name in seconds if not name.startswith("ours")]
    for name in seconds.keys() - theirs if not theirs else [name for name in seconds if name.startswith("ours")]:
        for other in theirs:
            ratio = seconds[name] / seconds[other]
            times = f"{seconds[name] * 1e6:.3g} µs against {seconds[other] * 1e6:.3g} µs"
            print(f"| {framework}: {what} | {name} | {other} | {ratio:.2f} | {times} |")


def rows(framework: str, caches: Mapping[str, Any], wanted: Callable[[str], bool]) -> None:
    """Measures one framework's caches: what is in this process in turns, and what asks a server in others."""
    for cache in caches.values():
        cache.set("user:1", USER)
        cache.set_many(dict.fromkeys(KEYS, USER))
        assert cache.get("user:1") == USER
    local = {name: cache for name, cache in caches.items() if "emory" in name or name in ("LocMemCache", "SimpleCache")}
    shared = {
        name: cache for name, cache in caches.items() if name not in ("LocMemCache", "SimpleCache", "ours, memory")
    }
    alone = {name: cache for name, cache in local.items() if name != "ours, memory and Redis"}
    distant = {name: cache for name, cache in shared.items() if name != "ours, memory and Redis"}
    plans: list[tuple[str, Mapping[str, Any], Callable[[Any], Call], int]] = [
        ("hit in memory", local, lambda cache: lambda: cache.get("user:1"), BLOCK["memory"]),
        ("hit", shared, lambda cache: lambda: cache.get("user:1"), BLOCK["redis"]),
        ("set in memory", alone, lambda cache: lambda: cache.set("user:1", USER), BLOCK["memory"]),
        ("set", shared, lambda cache: lambda: cache.set("user:1", USER), BLOCK["redis"]),
        ("get_many of 20", distant, lambda cache: _many(framework, cache), BLOCK["redis"]),
    ]
    for what, chosen, call, block in plans:
        if wanted(what):
            show(framework, what, measure({name: call(cache) for name, cache in chosen.items()}, block))
    if framework == "Django" and wanted("awaited hit"):
        show(framework, "awaited hit in memory", measure_awaited(local, BLOCK["redis"]))
        show(framework, "awaited hit", measure_awaited(distant, BLOCK["redis"]))


def _many(framework: str, cache: Any) -> Call:
    return (lambda: cache.get_many(KEYS)) if framework == "Django" else (lambda: cache.get_many(*KEYS))


def main() -> None:
    """Measures and prints."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    words = sys.argv[1:]
    servers = Servers()
    fresh = FreshRedis(servers.find("redis"))
    urls = iter(fresh.make, "")
    gc.disable()
    print("| what | ours | beside | ratio | lower deciles |\n|---|---|---|---|---|")
    for framework, making in (("Django", django_caches), ("Flask-Caching", flask_caches)):
        with making(urls) as caches:
            rows(framework, caches, lambda what, name=framework: all(word in f"{name} {what}" for word in words))
    fresh.close()
    servers.close()


if __name__ == "__main__":
    main()
