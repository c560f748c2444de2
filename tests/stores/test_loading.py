"""How values are loaded: ahead of their end, with a life of their own, missed, and failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, Gate, ManyFake, in_threads
from wellwired.errors import LayerError, NotFound
from wellwired.stores import (
    MISSING,
    Absent,
    DelegatedStore,
    Entry,
    Failed,
    Hit,
    Layer,
    LoadPolicy,
    Lookup,
    MemoryStore,
    Miss,
)
from wellwired.stores.events import LoadFailed, StoreEvent
from wellwired.stores.loading import entry_of
from wellwired.stores.redis import RedisStore
from wellwired.testing.clock import VirtualClock


def stack(clock: VirtualClock, *layers: Any, **options: Any) -> DelegatedStore[Any]:
    """A store that is loaded by a policy of these options."""
    return DelegatedStore[Any](layers, clock=clock, loads=LoadPolicy(**options))


class Source:
    """A loader that counts its calls, answers in order, and stops where a test wants."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[str] = []
        self.gate: Gate | None = None

    def __call__(self, key: str) -> Any:
        """The next answer; an exception is raised."""
        self.calls.append(key)
        if self.gate is not None:
            self.gate()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def settled(store: DelegatedStore[Any]) -> None:
    """Waits until no load is under way in the background."""
    done = threading.Event()
    while len(store._endpoint.loads.flights):
        done.wait(0.001)
    store.flush(10)


def test_a_value_about_to_end_is_loaded_anew_while_everybody_goes_on(virtual_clock: VirtualClock) -> None:
    """Within its last seconds a read answers with what is there and has the next value loaded, once."""
    memory, primary = MemoryStore(clock=virtual_clock), FakeStore(virtual_clock)
    store, source = stack(virtual_clock, memory, primary, refresh_ahead=3.0), Source("one", "two")
    assert store.get_or_load("a", source, ttl=10.0) == "one"
    virtual_clock.advance(6.0)
    assert store.get_or_load("a", source, ttl=10.0) == "one" and source.calls == ["a"]
    virtual_clock.advance(1.0)
    source.gate = Gate()
    for _ in range(5):
        assert store.get_or_load("a", source, ttl=10.0) == "one"
    assert source.gate.reached.wait(10)
    source.gate.open()
    settled(store)
    assert source.calls == ["a", "a"] and store.stats().refreshes == 1
    assert store.lookup("a") == Hit("two", "memory", 0, 10.0) and primary.data["a"][0] == "two"
    store.close()


def test_a_plain_read_refreshes_nothing(virtual_clock: VirtualClock) -> None:
    """Only who brings a loader has something loaded."""
    store, source = stack(virtual_clock, MemoryStore(clock=virtual_clock), refresh_ahead=3.0), Source("one")
    store.get_or_load("a", source, ttl=3.0)
    assert store.get("a") == "one" and source.calls == ["a"] and store.stats().refreshes == 0


@pytest.mark.parametrize("make", [MemoryStore, FakeStore, FencedFake])
def test_a_refresh_never_undoes_a_write(make: Callable[..., Any], virtual_clock: VirtualClock) -> None:
    """A write that comes while a value is loaded anew wins, in every kind of layer."""
    upper, primary = make(clock=virtual_clock), FakeStore(virtual_clock)
    store, source = stack(virtual_clock, upper, primary, refresh_ahead=20.0), Source("one", "two")
    store.get_or_load("a", source, ttl=10.0)
    store.flush(10)
    source.gate = Gate()
    store.get_or_load("a", source, ttl=10.0)
    assert source.gate.reached.wait(10)
    store.set("a", "written")
    source.gate.open()
    settled(store)
    assert store.get("a") == "written" and primary.data["a"][0] == "written"
    store.close()


def test_a_refresh_replaces_what_is_in_every_layer(virtual_clock: VirtualClock) -> None:
    """Memory, Redis and the truth have the newer value afterwards, whichever of them is a primary."""
    for truth in (True, False):
        with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
            shared = RedisStore(client, namespace="n")
            layers: list[Any] = [MemoryStore(), shared, *([MemoryStore()] if truth else [])]
            store = DelegatedStore[Any](layers, loads=LoadPolicy(refresh_ahead=1000.0), clock=virtual_clock)
            source = Source("one", "two")
            store.get_or_load("a", source, ttl=500.0)
            store.flush(10)
            assert store.get_or_load("a", source, ttl=500.0) == "one"
            settled(store)
            kept = [layer.get("a") for layer in layers]
            assert [entry and entry.value for entry in kept] == ["two"] * len(layers)
            store.close()


def test_a_refresh_that_fails_leaves_what_is_there(virtual_clock: VirtualClock) -> None:
    """Nobody hears of it but the counters and the listeners; the value lives on to its end."""
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), refresh_ahead=3.0)
    told, heard = list[LoadFailed](), threading.Event()

    def hear(event: StoreEvent) -> None:
        if isinstance(event, LoadFailed):
            told.append(event)
            heard.set()

    store.on_event(hear)
    source = Source("one", BrokenError("source"))
    store.get_or_load("a", source, ttl=10.0)
    virtual_clock.advance(8.0)
    assert store.get_or_load("a", source) == "one"
    settled(store)
    assert store.get("a") == "one" and store.stats().loads == 2
    assert heard.wait(10) and [(event.key, event.error) for event in told] == [("a", "BrokenError")]
    assert store.stats().failed_in_background == 1
    virtual_clock.advance(2.0)
    with pytest.raises(BrokenError):
        store.get_or_load("a", source)


def test_refreshes_are_bounded(virtual_clock: VirtualClock) -> None:
    """With its workers busy and the line full, a value is not loaded ahead, and that is counted."""
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), refresh_ahead=30.0, workers=1, waiting=0)
    gate, source = Gate(), Source("x")
    for key in ("a", "b"):
        store.get_or_load(key, source, ttl=10.0)
    store.get_or_load("a", lambda _: gate())
    assert gate.reached.wait(10)
    assert store.get_or_load("b", source) == "x"
    assert (store.stats().refreshes, store.stats().refreshes_left_out) == (1, 1)
    gate.open()
    settled(store)


def test_who_finds_a_refresh_under_way_and_nothing_else_waits_for_it(virtual_clock: VirtualClock) -> None:
    """A value that ends while it is loaded anew is not loaded a second time beside it."""
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), refresh_ahead=3.0)
    source = Source("one", "two")
    store.get_or_load("a", source, ttl=10.0)
    virtual_clock.advance(8.0)
    source.gate = Gate()
    store.get_or_load("a", source, ttl=10.0)
    assert source.gate.reached.wait(10)
    virtual_clock.advance(5.0)
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(store.get_or_load("a", source)))
    waiter.start()
    source.gate.open()
    waiter.join(10)
    assert answers == ["two"] and source.calls == ["a", "a"]
    settled(store)


def test_a_loader_may_say_how_long_its_value_is_good(virtual_clock: VirtualClock) -> None:
    """An entry's own life counts, up to what the caller and the layers grant."""
    store = stack(virtual_clock, Layer(MemoryStore(clock=virtual_clock), ttl=50.0))
    lives = {"short": (5.0, None, 5.0), "long": (500.0, None, 50.0), "capped": (20.0, 10.0, 10.0)}
    for key, (own, ttl, left) in lives.items():
        store.get_or_load(key, lambda _, own=own: Entry("v", own), ttl=ttl)  # type: ignore[misc]
        assert store.lookup(key) == Hit("v", "memory", 0, left)
    assert store.get_or_load("ended", lambda _: Entry("v", 30.0, tags=("t",))) == "v"


@given(st.one_of(st.none(), st.floats(0.001, 1e9)), st.floats(0, 0.999), st.one_of(st.none(), st.floats(0.001, 1e9)))
def test_jitter_only_shortens(ttl: float | None, shorten: float, own: float | None) -> None:
    """Whatever is drawn, a loaded value lives no longer than it was given, and never not at all."""
    entry = entry_of(Entry("v", own), ttl, shorten)
    assert entry is not None
    limits = [limit for limit in (ttl, own) if limit is not None]
    assert entry.left is None if not limits else 0 < (entry.left or 0) <= min(limits)


def test_what_was_loaded_together_does_not_end_together(virtual_clock: VirtualClock) -> None:
    """With jitter the lives of values differ, within the share that was allowed."""
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), jitter=0.5)
    for key in range(20):
        store.get_or_load(str(key), str, ttl=100.0)
    answers = store.lookup_many([str(key) for key in range(20)]).values()
    lives = {answer.left for answer in answers if isinstance(answer, Hit)}
    assert len(lives) > 1 and all(50.0 <= (life or 0) <= 100.0 for life in lives)


def test_absence_is_remembered_if_asked(virtual_clock: VirtualClock) -> None:
    """For a while nobody asks the layers again for what was not there; a stored None is there."""
    primary = FakeStore(virtual_clock)
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), primary, absent_ttl=5.0)
    store.set("none", None)
    for _ in range(3):
        assert store.get("a", "nothing") == "nothing" and isinstance(store.lookup("a"), Absent)
        assert store.get_many(["a", "none"]) == {"none": None}
    assert primary.calls.count(("get", "a")) == 1
    virtual_clock.advance(5.0)
    primary.data["a"] = ("late", None)
    assert store.get("a") == "late"


def test_a_lookup_tells_what_is_remembered_from_what_was_found(virtual_clock: VirtualClock) -> None:
    """The first finds nothing and is a miss; those after it say which layer said so and how long that holds."""
    primary = FakeStore(virtual_clock)
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), primary, absent_ttl=5.0)
    assert store.lookup("a") == Miss("a")
    virtual_clock.advance(2.0)
    known = Absent("a", store.layers[1].name, 1, 3.0)
    assert store.lookup("a") == known
    assert store.lookup_many(["a", "b"]) == {"a": known, "b": Miss("b")}
    virtual_clock.advance(3.0)
    assert store.lookup("a") == Miss("a")


def test_what_is_remembered_to_be_absent_is_a_miss_for_who_gets(virtual_clock: VirtualClock) -> None:
    """`get` raises NotFound or gives the default, and `get_many` leaves the key out."""
    store = stack(virtual_clock, FakeStore(virtual_clock), absent_ttl=5.0)
    assert store.get("a", None) is None and isinstance(store.lookup("a"), Absent)
    with pytest.raises(NotFound):
        store.get("a")
    assert store.get("a", 1) == 1 and store.get_many(["a"]) == {}


def test_a_match_on_the_four_answers_is_exhaustive(virtual_clock: VirtualClock) -> None:
    """A type checker knows the four, and nothing else can come."""

    def said(answer: Lookup[Any]) -> str:
        match answer:
            case Hit(value=value):
                return f"hit {value}"
            case Absent(left=left):
                return f"absent for {left}"
            case Miss():
                return "miss"
            case Failed():
                return "failed"
        assert_never(answer)

    primary = FakeStore(virtual_clock)
    store = stack(virtual_clock, primary, absent_ttl=5.0)
    store.set("b", 1)
    assert [said(store.lookup(key)) for key in "aab"] == ["miss", "absent for 5.0", "hit 1"]
    primary.fail.add("get")
    assert said(store.lookup("c")) == "failed"


@pytest.mark.parametrize("how", ["one", "many"])
def test_what_a_loader_did_not_find_is_in_the_same_book(how: str, virtual_clock: VirtualClock) -> None:
    """The very first lookup after it is Absent, no layer is asked for it again, and no loader either."""
    primary, source = FakeStore(virtual_clock), Source(MISSING)
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), primary, absent_ttl=5.0)
    load_one_or_many(store, how, source)
    virtual_clock.advance(1.0)
    asked = len(primary.calls)
    assert store.lookup("a") == Absent("a", store.layers[1].name, 1, 4.0)
    assert store.get("a", 0) == 0 and store.get_many(["a"]) == {}
    for one_or_many in ("one", "many"):
        load_one_or_many(store, one_or_many, source)
    assert len(primary.calls) == asked and source.calls == ["a"] and store.explain("a").absent
    virtual_clock.advance(4.0)
    assert store.lookup("a") == Miss("a")


def load_one_or_many(store: DelegatedStore[Any], how: str, source: Source) -> None:
    """Asks for a key that there is nothing under, alone or in a batch."""
    if how == "many":
        assert store.get_or_load_many(["a"], lambda keys: {key: source(key) for key in keys}) == {}
        return
    with pytest.raises(NotFound):
        store.get_or_load("a", source)


@pytest.mark.parametrize("how", ["one", "many"])
def test_what_a_loader_did_not_find_ends_with_a_write(how: str, virtual_clock: VirtualClock) -> None:
    """At once in this process, also if the write came while the loader was looking."""
    primary = FakeStore(virtual_clock)
    store, source = stack(virtual_clock, MemoryStore(clock=virtual_clock), primary, absent_ttl=60.0), Source(MISSING)
    load_one_or_many(store, how, source)
    store.set("a", 1)
    assert store.get("a") == 1
    store.delete("a")
    assert store.lookup("a") == Miss("a")
    store.evict(["a"])
    source.gate = Gate()

    def write() -> None:
        assert source.gate is not None and source.gate.reached.wait(10)
        store.set("a", 2)
        store.evict(["a"])
        source.gate.open()

    in_threads(lambda: load_one_or_many(store, how, source), write)
    assert store.get("a") == 2 and store.get_or_load("a", source) == 2


def test_what_another_process_wrote_is_known_as_soon_as_it_is_found(virtual_clock: VirtualClock) -> None:
    """A loading read that finds a value ends the memory of its absence; the answers never contradict each other."""
    primary = ManyFake(virtual_clock)
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), primary, absent_ttl=60.0)
    assert store.get_many(["a", "b"]) == {}
    primary.data.update(a=(1, None), b=(2, None))
    assert isinstance(store.lookup("a"), Absent)  # which is what the policy asks for, for so long
    assert store.get_or_load("a", Source(BrokenError("not asked"))) == 1
    assert store.get_or_load_many(["b"], lambda _: {}) == {"b": 2}
    assert store.lookup("a") == Hit(1, "memory", 0) and store.lookup("b") == Hit(2, "memory", 0)


def test_a_refresh_that_finds_nothing_leaves_the_value_its_life(virtual_clock: VirtualClock) -> None:
    """It is not tried again for a while; once the value has ended, the loader's word counts for everybody."""
    store = stack(virtual_clock, MemoryStore(clock=virtual_clock), refresh_ahead=3.0, absent_ttl=30.0)
    source = Source("one", MISSING)
    store.get_or_load("a", source, ttl=10.0)
    virtual_clock.advance(8.0)
    for _ in range(3):
        assert store.get_or_load("a", source) == "one"
        settled(store)
    assert store.get("a") == "one" and isinstance(store.lookup("a"), Hit)
    assert store.get_or_load_many(["a"], lambda _: {}) == {"a": "one"} and source.calls == ["a", "a"]
    virtual_clock.advance(2.0)
    with pytest.raises(NotFound):
        store.get_or_load("a", source)
    assert store.get_or_load_many(["a"], lambda _: {"a": "not asked"}) == {}
    assert store.lookup("a") == Miss("a")
    assert store.lookup("a") == Absent("a", "memory", 0, 28.0) and source.calls == ["a", "a"]


def test_without_an_absent_ttl_nothing_is_absent(virtual_clock: VirtualClock) -> None:
    """Every lookup asks the layers again and is a miss."""
    store = stack(virtual_clock, FakeStore(virtual_clock))
    assert [store.lookup("a") for _ in range(2)] == [Miss("a")] * 2
    assert store.lookup_many(["a"]) == {"a": Miss("a")}


def test_a_remembered_absence_outlives_a_failing_layer(virtual_clock: VirtualClock) -> None:
    """While the source fails, what is remembered is still answered, and only the other keys have failed."""
    primary = FakeStore(virtual_clock)
    store = stack(virtual_clock, primary, absent_ttl=60.0)
    assert store.lookup("a") == Miss("a")
    primary.fail.add("get")
    assert isinstance(store.lookup("a"), Absent)
    answers = store.lookup_many(["a", "b"])
    assert isinstance(answers["a"], Absent) and isinstance(answers["b"], Failed)


@pytest.mark.parametrize("how", ["set", "set_many", "get_set", "get_or_load", "get_or_load_many", "evict"])
def test_an_absence_ends_with_what_this_store_does(how: str, virtual_clock: VirtualClock) -> None:
    """What is written, loaded or evicted here is not absent any more, at once."""
    primary = FakeStore(virtual_clock)
    store = stack(virtual_clock, primary, absent_ttl=60.0)
    assert store.get("a", None) is None
    does: dict[str, Callable[[], object]] = {
        "set": lambda: store.set("a", 1),
        "set_many": lambda: store.set_many({"a": 1}),
        "get_set": lambda: store.get_set("a", 1),
        "get_or_load": lambda: store.get_or_load("a", lambda _: 1),
        "get_or_load_many": lambda: store.get_or_load_many(["a"], lambda keys: dict.fromkeys(keys, 1)),
        "evict": lambda: (primary.data.update(a=(1, None)), store.evict(["a"])),
    }
    does[how]()
    assert store.get("a") == 1


def test_a_failing_layer_is_no_absence(virtual_clock: VirtualClock) -> None:
    """What nobody knows is not remembered as nothing."""
    primary = FakeStore(virtual_clock)
    primary.data["a"] = (1, None)
    store = stack(virtual_clock, primary, absent_ttl=60.0)
    primary.fail.add("get")
    with pytest.raises(LayerError):
        store.get("a")
    primary.fail.clear()
    assert store.get("a") == 1


@pytest.mark.parametrize("nothing", [MISSING, NotFound("a")])
def test_a_loader_that_finds_nothing(nothing: Any, virtual_clock: VirtualClock) -> None:
    """It is told as such, remembered only if asked, and asked again after that or after a write."""
    for seconds, calls in ((None, 3), (5.0, 1)):
        store, source = stack(virtual_clock, MemoryStore(clock=virtual_clock), absent_ttl=seconds), Source(nothing)
        for _ in range(3):
            with pytest.raises(NotFound):
                store.get_or_load("a", source)
        assert len(source.calls) == calls
    store, source = stack(virtual_clock, MemoryStore(clock=virtual_clock), absent_ttl=5.0), Source(nothing, "v")
    with pytest.raises(NotFound):
        store.get_or_load("a", source)
    virtual_clock.advance(5.0)
    assert store.get_or_load("a", source) == "v"


def test_a_failed_load_is_remembered_only_if_asked(virtual_clock: VirtualClock) -> None:
    """By default every caller tries again; else the error is raised for a while, and a write ends that."""
    for seconds, calls in ((None, 3), (5.0, 1)):
        store = stack(virtual_clock, MemoryStore(clock=virtual_clock), failed_ttl=seconds)
        source = Source(BrokenError("source"))
        for _ in range(3):
            with pytest.raises(BrokenError):
                store.get_or_load("a", source)
        assert len(source.calls) == calls
        store.set("a", "written")
        assert store.get_or_load("a", source) == "written"
        store.delete("a")
        source.answers = ["v"]
        assert store.get_or_load("a", source) == "v"


def test_a_key_that_somebody_else_loads_is_waited_for(virtual_clock: VirtualClock) -> None:
    """Two batches that overlap load every key once, whichever comes first."""
    store, gate, asked = stack(virtual_clock, MemoryStore()), Gate(), list[str]()

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        asked.extend(keys)
        gate()
        return {key: key.upper() for key in keys}

    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(store.get_or_load_many(["a", "b"], load)))
    first.start()
    assert gate.reached.wait(10)
    second = threading.Thread(target=lambda: answers.append(store.get_or_load_many(["b", "c"], load)))
    second.start()
    gate.open()
    first.join(10)
    second.join(10)
    assert sorted(asked) == ["a", "b", "c"]
    assert sorted(answers, key=str) == [{"a": "A", "b": "B"}, {"b": "B", "c": "C"}]


def test_a_policy_that_makes_no_sense_is_refused() -> None:
    """It says at once what it cannot mean."""
    wrongs: list[dict[str, Any]] = [
        {"refresh_ahead": -1}, {"jitter": 1}, {"absent_ttl": 0}, {"failed_ttl": -1}, {"workers": 0}, {"waiting": -1}
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValueError, match="load policy"):
            LoadPolicy(**wrong)
