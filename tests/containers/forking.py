"""Running a piece of a test in a forked child, and hearing how it went."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["in_child"]

_SECONDS = 20


def in_child(function: Callable[[], Any]) -> Any:
    """Forks, calls `function` in the child, and returns what it returned.

    A child that raises, hangs or dies fails the test.

    Args:
        function: its result must be picklable.

    Returns:
        The result.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn that other threads exist: that is the point of these tests.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _child(function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0 and data, f"the child ended with status {status}"
    ok, value = pickle.loads(data)
    assert ok, f"the child raised:\n{value}"
    return value


def _child(function: Callable[[], Any], writing: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_SECONDS)
    try:
        answer = (True, function())
    except BaseException:  # noqa: BLE001 - it is the answer
        answer = (False, traceback.format_exc())
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(pickle.dumps(answer))
    sys.stdout.flush()
    os._exit(0)
