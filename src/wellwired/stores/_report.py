"""The outcomes of one write, noted layer by layer until they make a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wellwired.errors import LayerError
from wellwired.operations import StoreVerb
from wellwired.stores._rungs import Failure, Rung
from wellwired.stores.receipts import LayerOutcome, LayerState, Receipt

if TYPE_CHECKING:
    from wellwired.stores._stack import Stack

__all__ = ["Report"]


class Report:
    """What is known so far about one write; used by one thread.

    Args:
        stack: the layers.
        verb: what the caller calls the write.
    """

    __slots__ = ("_failures", "_stack", "_states", "began", "verb")

    def __init__(self, stack: Stack, verb: StoreVerb) -> None:
        self.verb = verb
        self._stack = stack
        # Of a layer of which nothing is noted, nothing was asked.
        self._states = [LayerState.SKIPPED] * len(stack.rungs)
        self._failures: dict[int, Failure] = {}
        # From when the lives of the values count, on the stack's clock.
        self.began = stack.now()

    def note(self, rung: Rung, state: LayerState, failure: Failure | None = None) -> None:
        """Notes the outcome in one layer, in place of one noted before."""
        self._states[rung.index] = state
        if failure is not None:
            self._failures[rung.index] = failure

    @property
    def reached_primary(self) -> bool:
        """Whether some primary took the write."""
        return any(self._states[index] is LayerState.DONE for index in self._stack.plan.primaries)

    def attach_to(self, error: BaseException) -> None:
        """Gives the error the receipt so far, if it has a place for one."""
        if isinstance(error, LayerError):
            error.receipt = self.receipt()

    def receipt(self, removed: int = 0) -> Receipt:
        """The receipt.

        Args:
            removed: for a delete, how many of the keys were there.
        """
        return Receipt(self.verb, tuple(map(self._outcome, self._stack.rungs, self._states)), removed)

    def _outcome(self, rung: Rung, state: LayerState) -> LayerOutcome:
        failure = self._failures.get(rung.index)
        if failure is not None:
            return LayerOutcome(rung.name, rung.index, rung.is_primary, state, type(failure.error).__qualname__)
        outcome = rung.outcomes.get(state)
        if outcome is None:
            outcome = rung.outcomes[state] = LayerOutcome(rung.name, rung.index, rung.is_primary, state)
        return outcome
