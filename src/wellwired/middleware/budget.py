"""A budget for retries, so that they cannot multiply the load on a backend that is already failing.

With a backend that fails always, three attempts for each write are three times the load, just when it hurts most.
Each writer has a purse of tokens: a retry takes some out, and when the purse is empty writes fail at their first
attempt until successes fill it again. A retry that succeeds puts back what it took, because a conflict that a second
attempt settles is no failing backend; a write that succeeds at once puts back one token.

The numbers are the AWS SDKs' (500, 5, 10, 1). A full purse pays for 100 retries in vain, or 50 after timeouts: each
write on its way in a process of 64 threads may be tried again when a server fails over, and a backend that is gone
for good gets 100 attempts too many, once. While some writes succeed, at most one retry in vain comes on five of them.

A purse is a bounded deque: taking and putting one token are single atomic steps, so threads need no lock and a fork
can leave none held.
"""

from __future__ import annotations

from collections import deque

from wellwired.errors import Outcome, WriteError, WriteTimeoutError

__all__ = ["RetryBudget"]


class RetryBudget:
    """Tokens for retries, a purse for each writer; safe to share by threads.

    Args:
        capacity: tokens in a full purse; every purse starts full.
        cost: tokens that a retry takes.
        heavy_cost: tokens that a retry takes after a timeout or an unknown outcome, which held the backend longest.
        refund: tokens that a success at the first attempt puts back.

    Raises:
        ValueError: a number is less than 1.
    """

    def __init__(self, capacity: int = 500, *, cost: int = 5, heavy_cost: int = 10, refund: int = 1) -> None:
        if min(capacity, cost, heavy_cost, refund) < 1:
            raise ValueError("capacity, cost, heavy_cost and refund must be 1 or more")
        self.capacity = capacity
        self.cost = cost
        self.heavy_cost = heavy_cost
        self._returned = (True,) * refund
        self._purses: dict[str, deque[bool]] = {}

    def price(self, error: WriteError) -> int:
        """How many tokens a retry takes.

        Args:
            error: how the attempt before it failed.
        """
        heavy = error.outcome is Outcome.UNKNOWN or isinstance(error, WriteTimeoutError)
        return self.heavy_cost if heavy else self.cost

    def spend(self, writer: str, error: WriteError) -> bool:
        """Takes what a retry costs.

        Args:
            writer: whose purse.
            error: how the attempt before it failed.

        Returns:
            Whether there was enough; if not, the purse is as it was.
        """
        purse, taken, price = self._purse(writer), 0, self.price(error)
        while taken < price:
            try:
                purse.pop()
            except IndexError:
                purse.extend((True,) * taken)
                return False
            taken += 1
        return True

    def refund(self, writer: str, mended: WriteError | None = None) -> None:
        """Puts a success's tokens back, up to the capacity.

        Args:
            writer: whose purse.
            mended: how the attempt before it failed, if it was a retry, which gets back its price; None if it succeeded
                at once.
        """
        purse = self._purses.get(writer)
        if purse is not None:
            purse.extend(self._returned if mended is None else (True,) * self.price(mended))

    def left(self, writer: str) -> int:
        """How many tokens are in the writer's purse."""
        purse = self._purses.get(writer)
        return self.capacity if purse is None else len(purse)

    def _purse(self, writer: str) -> deque[bool]:
        purse = self._purses.get(writer)
        if purse is None:
            full: deque[bool] = deque((True,) * self.capacity, maxlen=self.capacity)
            purse = self._purses.setdefault(writer, full)
        return purse
