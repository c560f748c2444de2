"""Waiting for what other processes do, with a limit: they can set no event of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

__all__ = ["pause", "until"]

T = TypeVar("T")


def pause(seconds: float) -> None:
    """Lets others work for a moment."""
    threading.Event().wait(seconds)


def until(asked: Callable[[], T], what: str, *, seconds: float = 45.0) -> T:
    """Asks again and again.

    Args:
        asked: gives something true in the end.
        what: what is waited for, for the error.
        seconds: how long to wait at most.

    Returns:
        What it gave.

    Raises:
        AssertionError: it never did.
    """
    end = monotonic() + seconds
    while not (answer := asked()):
        assert monotonic() < end, f"not within {seconds} s: {what}"
        pause(0.02)
    return answer
