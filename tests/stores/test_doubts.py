"""The book of doubts: bounded, and never closed by who did not see the latest entry."""

from __future__ import annotations

from wellwired.stores._doubts import Doubts


def doubted(doubts: Doubts) -> bool:
    """Whether anything is in doubt."""
    return doubts.any


def test_a_key_is_in_doubt_until_it_is_resolved() -> None:
    """Other keys are not concerned."""
    doubts = Doubts()
    assert not doubted(doubts) and doubts.marks(["a"]) == {}
    doubts.add(["a", "b"])
    marks = doubts.marks(["a", "c"])
    assert doubted(doubts) and marks.keys() == {"a"} and len(doubts) == 2
    doubts.resolve(["a"], marks)
    assert doubts.marks(["a"]) == {} and doubted(doubts)
    doubts.resolve(["b"], doubts.marks(["b"]))
    assert not doubted(doubts)


def test_a_newer_doubt_outlives_the_resolution_of_an_older_one() -> None:
    """Who removed the key before the second failure must not end the doubt that came with it."""
    doubts = Doubts()
    doubts.add(["a"])
    marks = doubts.marks(["a"])
    doubts.add(["a"])
    doubts.resolve(["a"], marks)
    assert doubts.marks(["a"]).keys() == {"a"}
    doubts.add_everything()
    mark = doubts.everything
    doubts.add_everything()
    doubts.resolve_everything(mark)
    assert doubts.everything is not None and doubted(doubts)


def test_too_many_keys_put_everything_in_doubt() -> None:
    """The book keeps at most so many keys; beyond, the layer as a whole is doubted until it is cleared."""
    doubts = Doubts(limit=3)
    doubts.add(["a", "b", "c"])
    assert len(doubts) == 3
    doubts.add(["d"])
    assert doubts.everything is not None and len(doubts) == 0 and doubted(doubts)
    doubts.resolve_everything(doubts.everything)
    assert not doubted(doubts)


def test_only_one_asker_in_a_while_is_told_to_try() -> None:
    """Clearing a layer may cost much, so it is tried once in the time of its patience."""
    doubts = Doubts(patience=2.0)
    assert doubts.worth_a_try(100.0) and not doubts.worth_a_try(101.9) and doubts.worth_a_try(102.0)


def test_a_child_has_a_free_lock() -> None:
    """The doubts remain, and nobody holds them."""
    doubts = Doubts()
    doubts.add(["a"])
    with doubts._lock:
        doubts.after_fork()
        doubts.add(["b"])
    assert len(doubts) == 2
