"""Arguments are compared with a signature without a call, and every fault is named."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.containers._arguments import argument_faults, near, signature_of


def plain(a: int, b: int, c: int = 0) -> None:
    """Two arguments that are needed and one that is not."""


def strict(a: int, /, b: int, *, only: int) -> None:
    """One of every kind."""


def loose(a: int, *more: int, **named: int) -> None:
    """Takes anything after the first."""


def faults(target: Callable[..., Any], positional: int, *keywords: str, partial: bool = False) -> list[str]:
    """The faults of a call."""
    signature = signature_of(target)
    assert signature is not None
    return argument_faults(signature, positional, keywords, partial=partial)


def test_all_faults_at_once() -> None:
    """A call that is wrong in three ways is told so in one go."""
    assert faults(plain, 0, "bb", "zzz") == [
        "has no argument 'bb' (did you mean 'b'?)",
        "has no argument 'zzz'",
        "needs 'a' and does not get it",
        "needs 'b' and does not get it",
    ]


def test_too_many_by_position() -> None:
    """What has no place by position is counted."""
    assert faults(plain, 4) == ["takes 3 by position and gets 4"]


def test_one_argument_twice() -> None:
    """An argument given both ways is a fault; the name of a positional-only one is free for keywords."""
    assert faults(plain, 2, "a") == ["gets 'a' twice, by position and by keyword"]


def test_missing_ones_are_fine_where_a_caller_adds_more() -> None:
    """A partial call is wrong only in what it gives, not in what it leaves out."""
    assert faults(plain, 0, partial=True) == []
    assert faults(plain, 0, "nope", partial=True) == ["has no argument 'nope'"]


def test_what_has_no_signature_is_taken_on_trust() -> None:
    """A C function without a signature is skipped instead of failing the check."""
    assert signature_of(type) is None


def test_a_partial_has_the_rest_of_the_signature() -> None:
    """What a partial already gives is not missing."""
    assert faults(functools.partial(plain, 1, b=2), 0) == []


def test_no_default_is_shown() -> None:
    """A default may be a secret, and is not part of any message."""

    def opened(url: str, password: str = "hunter2") -> None:
        pass

    assert "hunter2" not in " ".join(faults(opened, 0, "passwort"))


@pytest.mark.parametrize("target", [plain, strict, loose, int.__add__, Exception, functools.partial(strict, 1)])
@given(positional=st.integers(0, 4), keywords=st.sets(st.sampled_from(["a", "b", "c", "only", "x"])))
def test_it_agrees_with_a_real_binding(target: Callable[..., Any], positional: int, keywords: set[str]) -> None:
    """There is a fault exactly if Python itself would refuse the call."""
    signature = signature_of(target)
    if signature is None:
        return
    values = dict.fromkeys(keywords)
    for partial in (False, True):
        bind = signature.bind_partial if partial else signature.bind
        try:
            bind(*[None] * positional, **values)
        except TypeError:
            refused = True
        else:
            refused = False
        assert bool(argument_faults(signature, positional, keywords, partial=partial)) is refused


def test_a_near_name_is_suggested_and_a_far_one_is_not() -> None:
    """A suggestion comes only if something is close."""
    assert near("stor", ["store", "writes"]) == " (did you mean 'store'?)"
    assert near("xyz", ["store"]) == ""


def test_what_is_given_already_is_not_suggested() -> None:
    """A name that the call has besides cannot be what was meant."""
    assert faults(plain, 0, "a", "b", "c", "bb") == ["has no argument 'bb'"]


def test_a_method_counts_without_its_self() -> None:
    """A bound method is checked as a caller sees it."""

    class Service:
        def go(self, a: int) -> None: ...

    assert faults(Service().go, 1) == []
    assert inspect.signature(Service).parameters == {}
