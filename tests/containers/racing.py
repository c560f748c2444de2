"""Threads that start at the same moment, for tests of what must happen once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["race", "race_all"]


def race(function: Callable[[], Any], threads: int = 8, timeout: float = 20.0) -> list[Any]:
    """Calls `function` in many threads at once.

    Args:
        function: what to call.
        threads: how many call it.
        timeout: seconds after which a thread counts as stuck.

    Returns:
        What the calls returned or raised, one for each thread.
    """
    return race_all([function] * threads, timeout)


def race_all(functions: Sequence[Callable[[], Any]], timeout: float = 20.0) -> list[Any]:
    """Calls each of `functions` in a thread of its own, all at once.

    Args:
        functions: what to call.
        timeout: seconds after which a thread counts as stuck.

    Returns:
        What the calls returned or raised, one for each thread.
    """
    barrier = threading.Barrier(len(functions))
    outcomes: list[Any] = [None] * len(functions)

    def run(index: int) -> None:
        barrier.wait(timeout)
        try:
            outcomes[index] = functions[index]()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            outcomes[index] = error

    workers = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(functions))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout)
        assert not worker.is_alive(), "a racing thread is stuck"
    return outcomes
