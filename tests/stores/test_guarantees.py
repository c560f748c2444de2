"""What a stack says that it promises follows from its layers, and is what it then does."""

from __future__ import annotations

import inspect
import itertools
import math
import re
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from tests.stores.fakes import FakeStore, FencedFake, Gate, ManyFake
from wellwired.errors import AbilityError
from wellwired.stores import DelegatedStore, Layer, LoadPolicy, MemoryStore, Reach, protocols
from wellwired.stores.guarantees import LACKS, Guarantees, LayerFacts, worked_out
from wellwired.stores.loader import LoaderStore
from wellwired.stores.redis import RedisStore

PAGE = Path(__file__).parents[2] / "docs" / "explanations" / "what-a-layered-read-can-promise.md"
ALL = frozenset(LACKS)


def of(*layers: LayerFacts, **options: Any) -> Guarantees:
    """What a stack of such layers promises."""
    return worked_out("users", layers, **options)


def test_a_stack_of_able_layers_promises_everything() -> None:
    """Memory, Redis and SQL: all but what another process keeps in its own memory, and that is bounded."""
    said = of(
        LayerFacts("memory", local=True, cap=60.0, stale=600.0, abilities=ALL - {"Adds", "Leases", "LeasesMany"}),
        LayerFacts("redis", cap=3600.0, abilities=ALL),
        LayerFacts("sql", primary=True, abilities=ALL),
        leasing=True,
    )
    reaches = (said.fills, said.loads, said.lives, said.writes, said.changes, said.single_load)
    assert reaches == (Reach.PROCESSES,) * 6
    assert (said.tags, said.stand_ins, said.behind, said.because) == (True, ("memory",), 60.0, ("memory",))
    assert [layer.lacks for layer in said.layers] == [(), (), ()]
    assert "behind other processes by 60 s at most (memory)" in str(said) and "\n" not in said.summary
    with pytest.raises(FrozenInstanceError):
        said.behind = 0.0  # type: ignore[misc]


ABILITIES = ("Fenced", "Ordered", "Atomic", "Tagged", "Leases")
some = [frozenset(chosen) for count in range(6) for chosen in itertools.combinations(ABILITIES, count)]


@pytest.mark.parametrize("local", [False, True], ids=["shared", "local"])
def test_what_follows_from_every_combination(local: bool) -> None:
    """A copy and a primary with each of the 32 combinations of abilities: every promise needs what it needs."""
    for copy, truth in itertools.product(some, some):
        said = of(
            LayerFacts("copy", local=local, cap=20.0, abilities=copy),
            LayerFacts("truth", primary=True, abilities=truth),
            leasing=True,
        )
        reaches = {True: Reach.PROCESSES, False: Reach.PROCESS}
        assert said.fills is reaches[local or "Fenced" in copy]
        assert said.loads is reaches[(local or "Fenced" in copy) and "Fenced" in truth]
        assert said.writes is reaches[local or "Ordered" in copy]
        assert said.changes is (Reach.PROCESSES if "Atomic" in truth else Reach.NOWHERE)
        assert said.single_load is reaches["Leases" in copy | truth]
        assert said.tags is ("Tagged" in truth) and said.lives is Reach.PROCESSES
        assert said.behind == (20.0 if local or not {"Fenced", "Ordered"} <= copy else 0.0)
        of_copy, of_truth = ([lack.ability for lack in layer.lacks] for layer in said.layers)
        assert [name for name in of_copy if name in ABILITIES] == [
            name
            for name in ABILITIES
            if name not in copy and name != "Atomic" and (name != "Leases" or "Leases" not in truth)
        ]
        assert ("Atomic" in of_truth) is ("Atomic" not in truth) and "Ordered" not in of_truth
        assert all(lack.why == LACKS[lack.ability] for layer in said.layers for lack in layer.lacks)


def test_several_primaries_are_ordered_in_one_process() -> None:
    """They are written one after the other, and two processes may do so crosswise; the lowest decides about changes."""
    upper = LayerFacts("upper", primary=True, abilities=ALL - {"Fenced", "Atomic"})
    said = of(upper, LayerFacts("lower", primary=True, abilities=ALL))
    assert (said.writes, said.fills, said.changes) == (Reach.PROCESS, Reach.PROCESS, Reach.PROCESSES)
    assert [lack.ability for lack in said.layers[0].lacks] == ["Fenced"]


def test_layers_that_take_nothing_need_nothing() -> None:
    """A read-only truth is filled and changed by nobody; a copy without a ttl above it is behind without a bound."""
    said = of(
        LayerFacts("memory", local=True, abilities=ALL),
        LayerFacts("source", primary=True, writable=False, abilities=frozenset({"Many"})),
    )
    assert (said.fills, said.loads, said.changes, said.tags) == (Reach.PROCESSES, Reach.PROCESSES, Reach.NOWHERE, True)
    assert said.layers[1].lacks == () and said.behind == math.inf and "without a bound (memory)" in str(said)


def test_what_no_other_process_can_write_to_is_behind_nobody() -> None:
    """A stack whose truth is in this process's memory is alone with it."""
    said = of(LayerFacts("copy", local=True, abilities=ALL), LayerFacts("truth", True, local=True, abilities=ALL))
    assert said.behind == 0.0 and said.changes is Reach.PROCESS and "by nothing" in said.summary


# --- what real stacks say, and do


def test_a_store_says_what_it_promises(redis_client: Any) -> None:
    """From what its layers are; it asks them nothing, and follows when a layer turns out to be read-only."""
    copy = FakeStore()
    layers = [
        Layer(MemoryStore(), ttl=5.0, stale=10.0),
        Layer(RedisStore(redis_client, namespace="users"), ttl=50.0, name="redis"),
        Layer(copy, name="copy", time_limit=1.0),
        Layer(MemoryStore(), primary=True, name="truth"),
    ]
    store: DelegatedStore[Any] = DelegatedStore(layers, name="users", loads=LoadPolicy(lease=3.0))
    said = store.guarantees
    assert said.store == "users" and said.single_load is Reach.PROCESSES and said.fills is Reach.PROCESS
    lacks = [[lack.ability for lack in layer.lacks] for layer in said.layers]
    assert lacks == [[], [], ["Fenced", "Ordered", "Many", "Tagged", "KeepsStale", "Timed"], []]
    assert copy.calls == [] and said == store.guarantees
    assert store.explain("a").promised == said.summary and f"promised: {said.summary}" in str(store.explain("a"))
    store._stack.rungs[2].writable = False
    assert store.guarantees.fills is Reach.PROCESSES
    store.close()


@pytest.mark.parametrize("make", [FakeStore, ManyFake, FencedFake, MemoryStore])
def test_a_fill_is_fenced_as_far_as_it_says(make: Callable[[], Any]) -> None:
    """Another process's write overtakes a fill of a shared copy: it comes back only where that is not promised."""
    truth, copy, gate = FakeStore(), make(), Gate()
    mine, theirs = (DelegatedStore[Any]([Layer(copy, name="copy"), Layer(truth)]) for _ in range(2))
    truth.data["a"] = ("old", None)
    truth.after["get"] = gate
    thread = threading.Thread(target=lambda: mine.get("a"))
    thread.start()
    assert gate.reached.wait(10)
    del truth.after["get"]
    theirs.set("a", "new")
    gate.open()
    thread.join(10)
    mine.flush(10)
    fenced = mine.guarantees.fills is Reach.PROCESSES
    assert fenced is (make in (FencedFake, MemoryStore))
    assert copy.get("a").value == ("new" if fenced else "old")


@pytest.mark.parametrize("make", [FakeStore, MemoryStore])
def test_changes_and_tags_are_what_it_says(make: Callable[[], Any]) -> None:
    """Where it says not at all they raise; where tags are not kept the primary keeps its values."""
    store: DelegatedStore[Any] = DelegatedStore([Layer(MemoryStore()), Layer(make(), primary=True)])
    said = store.guarantees
    if said.changes is Reach.NOWHERE:
        with pytest.raises(AbilityError):
            store.update("n", lambda value: 1)
    else:
        assert store.update("n", lambda value: 1) == 1
    store.set("a", 1, tags=["t"])
    store.invalidate_tags(["t"])
    assert store.has("a") is not said.tags
    assert [layer.layer for layer in said.layers for lack in layer.lacks if lack.ability == "Tagged"] == (
        [] if said.tags else ["fake"]
    )


def test_a_loader_below_promises_what_its_copies_do() -> None:
    """A stack over a function cannot change anything, and says so."""
    store: DelegatedStore[Any] = DelegatedStore([Layer(MemoryStore(), ttl=9.0), Layer(LoaderStore(str))])
    said = store.guarantees
    assert (said.changes, said.behind, said.because) == (Reach.NOWHERE, 9.0, ("memory",))


# --- what is told about it


def test_every_ability_has_its_consequence() -> None:
    """Each protocol besides `Store` is in the book, and nothing else is."""
    abilities = {name for name, one in vars(protocols).items() if inspect.isclass(one) and name in protocols.__all__}
    assert set(LACKS) == abilities - {"Entry", "Store"}


def test_the_table_of_the_page_is_the_book() -> None:
    """Row by row the same words, so that neither can say what the other does not."""
    text = PAGE.read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, re.MULTILINE)
    assert dict(rows) == dict(LACKS)
