"""The tests of leases: one of all who ask is granted the load of a key, and who has lost it fills nothing."""

from __future__ import annotations

from wellwired.stores.protocols import Entry, Fenced, FencedMany, Leases, LeasesMany, Store
from wellwired.testing._suite_layers import LayerCommon, PassTime

__all__ = ["Loads"]

_LONG = 30.0


class Loads(LayerCommon):
    """A lease is granted to one, ends by itself, and is no way around a fence."""

    def test_one_is_granted_and_the_others_are_not(self, leases: Leases) -> None:
        """For each key for itself, until it is given back."""
        granted, entry, token = leases.lease("a", _LONG)
        assert (granted, entry) == (True, None)
        assert leases.lease("a", _LONG)[:2] == (False, None)
        assert leases.lease(self.KEYS[1], _LONG)[0] is True
        leases.release("a", token)
        assert leases.lease("a", _LONG)[0] is True

    def test_what_is_there_is_given_and_no_lease(self, store: Store, leases: Leases) -> None:
        """Also a falsy value."""
        for value in (self.ONE, self.VALUES[0]):
            store.set("a", value)
            granted, entry, _ = leases.lease("a", _LONG)
            assert granted is False and entry is not None and entry.value == value

    def test_the_holder_of_a_lease_fills(self, store: Store, leases: Leases, fenced: Fenced) -> None:
        """With the token that came with it; after that there is something, lease or not."""
        token = leases.lease("a", _LONG)[2]
        assert fenced.fill("a", Entry(self.ONE, 50.0), token) is True
        entry = store.get("a")
        assert entry is not None and entry.value == self.ONE
        assert leases.lease("a", _LONG)[0] is False
        leases.release("a", token)
        store.delete("a")
        assert leases.lease("a", _LONG)[0] is True

    def test_a_lease_is_no_way_around_a_fence(self, store: Store, leases: Leases, fenced: Fenced) -> None:
        """What is written, deleted or cleared during the load wins."""
        for overtake in (lambda: store.set("a", self.TWO), lambda: store.delete("a"), store.clear):
            store.delete("a")
            token = leases.lease("a", _LONG)[2]
            overtake()
            after = store.get("a")
            assert fenced.fill("a", Entry(self.ONE), token) is False
            assert store.get("a") == after
            leases.release("a", token)

    def test_a_lease_ends_by_itself(self, store: Store, leases: Leases, fenced: Fenced, pass_time: PassTime) -> None:
        """Who held it then fills nothing any more, and takes nobody else's away."""
        old = leases.lease("a", 10.0)[2]
        pass_time(11.0)
        granted, _, new = leases.lease("a", _LONG)
        assert granted is True
        leases.release("a", old)
        assert leases.lease("a", _LONG)[0] is False
        assert fenced.fill("a", Entry(self.ONE), old) is False and store.get("a") is None
        assert fenced.fill("a", Entry(self.TWO), new) is True

    def test_another_process_is_not_granted_what_is_taken(self, store: Store, leases: Leases, another: Store) -> None:
        """The lease holds for all who share the data, and so does its return."""
        assert isinstance(another, Leases)
        token = leases.lease("a", _LONG)[2]
        assert another.lease("a", _LONG)[0] is False
        leases.release("a", token)
        assert another.lease("a", _LONG)[0] is True
        assert store.get("a") is None

    def test_many_leases_are_taken_and_given_back_at_once(
        self, store: Store, leases_many: LeasesMany, fenced_many: FencedMany
    ) -> None:
        """Each key gets what it would have got by itself."""
        there, taken, *free = self.KEYS[:4]
        store.set(there, self.ONE)
        leases_many.lease(taken, _LONG)
        answers = leases_many.lease_many([*free, there, taken], _LONG)
        assert {key: answer[0] for key, answer in answers.items()} == {
            **dict.fromkeys(free, True),
            there: False,
            taken: False,
        }
        entry = answers[there][1]
        assert entry is not None and entry.value == self.ONE
        offers = {key: (Entry(self.TWO), answers[key][2]) for key in free[:1]}
        assert set(fenced_many.fill_many(offers)) == set(free[:1])
        leases_many.release_many({key: answers[key][2] for key in free})
        again = leases_many.lease_many(free, _LONG)
        assert [again[key][0] for key in free] == [False, True]

    def test_a_value_about_to_end_may_be_loaded_anew(self, store: Store, leases_many: LeasesMany) -> None:
        """One that has no more than `ahead` left counts as not there; one that has more does not, nor one for ever."""
        ending, lasting, endless = self.KEYS[:3]
        store.set(ending, self.ONE, 20.0)
        store.set(lasting, self.ONE, 500.0)
        store.set(endless, self.ONE)
        answers = leases_many.lease_many([ending, lasting, endless], _LONG, 60.0)
        assert [answers[key][0] for key in (ending, lasting, endless)] == [True, False, False]
