"""How long keys are fitted into a store, so that no two of them meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wellwired.integrations._cache_keys import ALWAYS_FITS, fitted
from wellwired.stores.keys import KEY_BYTES, encode_key

_LONG = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=12), st.integers(1, 400))


@given(_LONG, _LONG)
def test_no_two_keys_are_one(one: str, other: str) -> None:
    """Every key fits, and stays what it is if it does so anyway."""
    assert (fitted(one) == fitted(other)) is (one == other)
    for key in (one, other):
        assert len(encode_key(fitted(key))) <= KEY_BYTES
        if len(key) <= ALWAYS_FITS:
            assert fitted(key) == key


@given(_LONG)
def test_a_key_that_looks_like_a_stand_in_gets_one(key: str) -> None:
    """Whoever knows what a long key is stored under cannot reach it by that name."""
    stand_in = fitted(key)
    assert stand_in == key or fitted(stand_in) not in (key, stand_in)


def test_a_key_that_fits_is_left_alone() -> None:
    """However many bytes its characters have."""
    for key in ("k" * KEY_BYTES, "☃" * 341, "😀" * 250, ":1:views.decorators.cache.cache_page..GET.abc"):
        assert fitted(key) == key
    assert fitted("☃" * 342) != "☃" * 342


def test_half_a_surrogate_pair_is_for_the_store_to_refuse() -> None:
    """A long one has a digest, like any other."""
    assert fitted("\ud800" * 2) == "\ud800" * 2 and len(fitted("k" * 300 + "\ud800" * 800)) < 300
