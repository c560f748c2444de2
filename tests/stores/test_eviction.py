"""S3-FIFO: who is given up, who is spared, and what is remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wellwired.stores._eviction import Node, Queues


def node(key: str, expires: float | None = None) -> Node:
    """An entry."""
    return Node(key, (key, expires, None))


def admit(queues: Queues, *keys: str) -> list[Node]:
    """Lets new entries in."""
    nodes = [node(key) for key in keys]
    for one in nodes:
        queues.admit(one)
    return nodes


def given_up(queues: Queues, now: float = 0.0) -> str | None:
    """The key of the next entry that is given up."""
    one = queues.evict(now)
    return None if one is None else one.key


def test_who_was_not_asked_for_goes_in_the_order_of_coming() -> None:
    """Without hits it is first in, first out; an empty one gives up nothing."""
    queues = Queues()
    admit(queues, "a", "b", "c")
    assert [given_up(queues) for _ in range(4)] == ["a", "b", "c", None]


def test_who_was_asked_for_is_spared() -> None:
    """A hit moves an entry up instead of out; each further round costs it one of at most three credits."""
    queues = Queues()
    first, second = admit(queues, "a", "b")
    first.hits = 1
    assert given_up(queues) == "b" and first.alive and not second.alive
    first.hits = 100
    assert given_up(queues) == "a"
    assert queues.harvested == 101


def test_who_comes_back_soon_goes_to_the_main_queue_at_once() -> None:
    """A key that was given up lately is let in where a scan cannot push it out."""
    queues = Queues()
    admit(queues, "a", *[f"k{n}" for n in range(30)])
    assert given_up(queues) == "a"
    admit(queues, "a")
    assert "a" not in [given_up(queues) for _ in range(30)]


def test_ghosts_are_bounded() -> None:
    """Only as many given-up keys are remembered as there are entries."""
    queues = Queues()
    for number in range(10_000):
        admit(queues, f"k{number}")
        if queues.alive > 100:
            queues.evict(0.0)
    assert len(queues._ghosts) <= 101


def test_what_has_ended_goes_however_much_it_was_used() -> None:
    """Time counts more than use."""
    queues = Queues()
    old = node("old", expires=5.0)
    queues.admit(old)
    admit(queues, "young")
    old.hits = 3
    assert given_up(queues, now=5.0) == "old"


def test_clearing_forgets_everything_but_the_hits() -> None:
    """Counting goes on where it was."""
    queues = Queues()
    for one in admit(queues, "a", "b"):
        one.hits = 2
    queues.clear()
    assert queues.alive == 0 and queues.harvested == 4 and given_up(queues) is None


@given(st.lists(st.tuples(st.sampled_from(["admit", "remove", "evict", "hit"]), st.integers(0, 200)), max_size=300))
def test_the_books_balance(steps: list[tuple[str, int]]) -> None:
    """Whatever is done, exactly the living entries are in the queues, each once, and the hits add up."""
    queues = Queues()
    living: list[Node] = []
    hits = 0
    for number, (verb, amount) in enumerate(steps):
        if verb == "admit":
            living += admit(queues, f"k{number}")
        elif verb == "evict":
            gone = queues.evict(0.0)
            assert (gone is None) is (not living)
            living = [one for one in living if one is not gone]
        elif living and verb == "remove":
            queues.remove(living.pop(amount % len(living)))
        elif living:
            living[amount % len(living)].hits += 1
            hits += 1
        queued = [one for queue in (queues._small, queues._main) for one in queue if one.alive]
        assert sorted(one.key for one in queued) == sorted(one.key for one in living)
        assert queues.alive == len(living)
        assert queues.harvested + sum(one.hits for one in living) == hits
