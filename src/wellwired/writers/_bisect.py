"""Finds the bad ones among many that are tried together, while the good ones stay: a plan, without anything it acts on.

A database says that one of a thousand rows was refused, and not which. So what failed is undone and tried again by
halves, the left half first, until what fails is alone. One bad one among n costs about two tries for each halving, and
what is tried comes in its own order, as if each had been tried for itself.

Where it is known which one failed (they were tried one by one), those before it are tried again as they are, and then
those behind it: no good one is done more than twice.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Bisection", "Span"]


class Span(NamedTuple):
    """Neighbours to try together.

    Args:
        start: the position of the first.
        stop: the position after the last.
    """

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Bisection:
    """The plan for so many; it is told what became of each try. For one thread.

    Usage: try `span`, undo it if it failed, call `passed` or `failed`, and go on until `span` is None.

    Args:
        count: how many there are.
    """

    __slots__ = ("_waiting", "bad")

    def __init__(self, count: int) -> None:
        self.bad: list[int] = []
        self._waiting = [Span(0, count)] if count else []

    @property
    def span(self) -> Span | None:
        """What to try next, or None if each one is decided."""
        return self._waiting[-1] if self._waiting else None

    def passed(self) -> None:
        """The span was done, and stays."""
        self._waiting.pop()

    def failed(self, at: int | None = None) -> int | None:
        """The span failed and was undone.

        Args:
            at: the position of the one that failed, if they were tried one by one; None if nobody knows.

        Returns:
            The position of the bad one, or None if the search goes on.
        """
        start, stop = self._waiting.pop()
        if at is None and stop - start > 1:
            middle = (start + stop) // 2
            self._waiting += [Span(middle, stop), Span(start, middle)]
            return None
        culprit = start if at is None else at
        self.bad.append(culprit)
        # Pushed so that what comes first is on top.
        self._waiting += [span for span in (Span(culprit + 1, stop), Span(start, culprit)) if len(span)]
        return culprit
