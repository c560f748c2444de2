"""A budget for retries, so that they cannot multiply the load on a backend that is already failing.

With a backend that fails always, three attempts for each write are three times the load, just when it hurts most.
Each target has a purse of tokens: a retry takes some out, a success puts one back, and when the purse is empty writes
fail at their first attempt until successes fill it again. The numbers follow the AWS SDKs' token bucket.

A purse is a bounded deque: taking and putting one token are single atomic steps, so threads need no lock and a fork
can leave none held.
"""

from __future__ import annotations

from collections import deque

from wellwired.errors import Outcome, WriteError, WriteTimeoutError

__all__ = ["RetryBudget"]


class RetryBudget:
    """Tokens for retries, a purse for each target; safe to share by threads.

    Args:
        capacity: tokens in a full purse; every purse starts full.
        cost: tokens that a retry takes.
        heavy_cost: tokens that a retry takes after a timeout or an unknown outcome, which held the backend longest.
        refund: tokens that a success puts back.

    Raises:
        ValueError: a number is less than 1.
    """

    def __init__(self, capacity: int = 100, *, cost: int = 5, heavy_cost: int = 10, refund: int = 1) -> None:
        if min(capacity, cost, heavy_cost, refund) < 1:
            raise ValueError("capacity, cost, heavy_cost and refund must be 1 or more")
        self.capacity = capacity
        self.cost = cost
        self.heavy_cost = heavy_cost
        self._returned = (True,) * refund
        self._purses: dict[str, deque[bool]] = {}

    def spend(self, target: str, error: WriteError) -> bool:
        """Takes what a retry costs.

        Args:
            target: whose purse.
            error: how the attempt before it failed.

        Returns:
            Whether there was enough; if not, the purse is as it was.
        """
        heavy = error.outcome is Outcome.UNKNOWN or isinstance(error, WriteTimeoutError)
        purse, taken = self._purse(target), 0
        cost = self.heavy_cost if heavy else self.cost
        while taken < cost:
            try:
                purse.pop()
            except IndexError:
                purse.extend((True,) * taken)
                return False
            taken += 1
        return True

    def refund(self, target: str) -> None:
        """Puts a success's tokens back, up to the capacity."""
        purse = self._purses.get(target)
        if purse is not None:
            purse.extend(self._returned)

    def left(self, target: str) -> int:
        """How many tokens are in the target's purse."""
        purse = self._purses.get(target)
        return self.capacity if purse is None else len(purse)

    def _purse(self, target: str) -> deque[bool]:
        purse = self._purses.get(target)
        if purse is None:
            full: deque[bool] = deque((True,) * self.capacity, maxlen=self.capacity)
            purse = self._purses.setdefault(target, full)
        return purse
