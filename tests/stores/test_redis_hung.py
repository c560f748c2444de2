"""A Redis that hangs or is down: reads with a deadline keep it, from another layer, with something stale, or typed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from tests.servers import PrivateServer
from wellwired.errors import LayerError
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.stores import DelegatedStore, Failed, Hit, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.testing.clock import VirtualClock

pytestmark = pytest.mark.redis

KEYS = [f"k{number}" for number in range(50)]


class Hung:
    """A Redis that can be stopped, with stacks on top of it."""

    def __init__(self, server: PrivateServer) -> None:
        self.server = server
        self.client = redis_py.Redis.from_url(server.url, socket_timeout=5.0, socket_connect_timeout=5.0)
        self.redis = RedisStore(self.client, namespace="n")
        self.clock = VirtualClock()
        self.memory = MemoryStore(clock=self.clock)
        self.stacks: list[DelegatedStore[Any]] = []

    def stack(self, *layers: Any) -> DelegatedStore[Any]:
        """A stack that is closed in the end."""
        self.stacks.append(DelegatedStore[Any](layers))
        self.stacks[-1].set_many({key: key for key in KEYS})
        return self.stacks[-1]

    def timed(self, store: DelegatedStore[Any], reads: int, deadline: float) -> tuple[list[float], Counter[str]]:
        """How long each of many reads took, in order of length, and how they ended."""
        took, ends = [], Counter[str]()
        for read in range(reads):
            key = KEYS[read % len(KEYS)]
            began = time.monotonic()
            answer = store.lookup(key, deadline=deadline)
            took.append(time.monotonic() - began)
            if isinstance(answer, Hit):
                assert answer.value == key
                ends[f"{answer.layer}{' stale' if answer.stale else ''}"] += 1
            else:
                assert isinstance(answer, Failed) and isinstance(answer.error, LayerError)
                ends[type(answer.error).__name__] += 1
        return sorted(took), ends


class Lateness:
    """How late the machine wakes a thread that only sleeps: what no deadline can do anything about."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self._over.wait(0.01)
            if not self._over.is_set():
                self.worst = max(self.worst, (time.monotonic() - began - 0.01) * 1000)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def hung(private_redis: Callable[..., PrivateServer]) -> Iterator[Hung]:
    """A server of the test's own, answering in the end so that nobody waits for it."""
    hung = Hung(private_redis())
    yield hung
    if hung.server.running:
        hung.server.resume()
    for stack in hung.stacks:
        stack.close(1.0)
    hung.client.close()


def stop(hung: Hung, how: str) -> None:
    """Makes the server hang, or be gone."""
    hung.server.pause() if how == "hung" else hung.server.kill()


@pytest.mark.parametrize("how", ["hung", "down"])
def test_the_layers_below_answer_in_time(hung: Hung, how: str) -> None:
    """A read that memory cannot answer is answered by the truth below Redis, within its deadline."""
    store = hung.stack(Layer(hung.redis, name="redis.cache"), Layer(MemoryStore(), primary=True, name="truth"))
    stop(hung, how)
    took, ends = hung.timed(store, 3, deadline=0.5)
    assert ends == {"truth": 3} and took[-1] < 0.5


@pytest.mark.parametrize("how", ["hung", "down"])
def test_a_breaker_saves_the_wait(hung: Hung, how: str) -> None:
    """Once its breaker has opened, nobody waits for it any more."""
    layer = Layer(hung.redis, name="redis.cache", time_limit=0.02, breaker=BreakerPolicy(calls=5, pause=60.0))
    store = hung.stack(layer, Layer(MemoryStore(), primary=True, name="truth"))
    stop(hung, how)
    _, ends = hung.timed(store, 100, deadline=0.5)
    counts = store.stats().layers[0]
    assert ends == {"truth": 100} and counts.breaker == "open" and counts.skipped >= 90


@pytest.mark.parametrize("how", ["hung", "down"])
def test_where_it_is_the_truth_something_stale_or_a_typed_failure_answers_in_time(hung: Hung, how: str) -> None:
    """With Redis as the truth a read gets what memory keeps beyond its fresh life, and then an error that says why."""
    store = hung.stack(Layer(hung.memory, ttl=10.0, stale=50.0), Layer(hung.redis, primary=True, name="redis.main"))
    stop(hung, how)
    assert hung.timed(store, 10, deadline=0.5)[1] == {"memory": 10}
    hung.clock.advance(10.0)
    took, ends = hung.timed(store, 3, deadline=0.3)
    assert ends == {"memory stale": 3} and took[-1] < 0.3
    hung.clock.advance(50.0)
    took, ends = hung.timed(store, 3, deadline=0.3)
    assert ends == {"LayerTimeoutError" if how == "hung" else "LayerError": 3} and took[-1] < 0.3


def test_when_it_answers_again_it_is_read_again(hung: Hung) -> None:
    """After a pause the layer takes part again, and what was written meanwhile is never read from it as it was."""
    store = hung.stack(
        Layer(hung.redis, name="redis.cache", time_limit=0.05), Layer(MemoryStore(), primary=True, name="truth")
    )
    hung.server.pause()
    receipt = store.set("k0", "new")
    assert not receipt.complete and receipt.layers[0].error == "LayerTimeoutError"
    assert store.get("k0") == "new"
    hung.server.resume()
    assert store.get("k0") == "new" and store.get("k1") == "k1"
    store.flush(10.0)
    entry = hung.redis.get("k0")
    assert entry is None or entry.value == "new"


@pytest.mark.soak
@pytest.mark.parametrize("how", ["hung", "down"])
def test_fifty_milliseconds_are_kept(hung: Hung, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A deadline of 50 ms is kept at the 99.9th percentile, but for the lateness of any thread that sleeps."""
    cache, truth = Layer(hung.redis, name="redis.cache"), Layer(MemoryStore(), primary=True, name="truth")
    guarded = Layer(hung.redis, name="redis.cache", breaker=BreakerPolicy(), time_limit=0.02)
    main = Layer(hung.redis, primary=True, name="redis.main")
    stacks = {
        "another layer": (hung.stack(cache, truth), 1000),
        "another layer, with a breaker": (hung.stack(guarded, truth), 20_000),
        "stale": (hung.stack(Layer(hung.memory, ttl=10.0, stale=500.0), main), 1000),
        "typed failure": (hung.stack(main), 1000),
    }
    stop(hung, how)
    hung.clock.advance(10.0)
    for name, (store, reads) in stacks.items():
        with Lateness() as lateness:
            took, ends = hung.timed(store, reads, deadline=0.05)
        shares = {share: took[int(share * reads)] * 1000 for share in (0.5, 0.99, 0.999)}
        with capsys.disabled():
            print(  # noqa: T201 - what a soak is run for
                f"\n  {how}, {name}: {dict(ends)}, "
                + ", ".join(f"p{p * 100:g} {ms:.1f} ms" for p, ms in shares.items())
                + f"; the machine wakes a thread up to {lateness.worst:.1f} ms late"
            )
        assert shares[0.999] <= 50.0 + 2 * lateness.worst  # it is woken, and may have to wait once more to go on
