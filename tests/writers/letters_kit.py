"""What the tests of dead letters share: letters, and processes that die at the worst moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.testing.clock import VirtualClock
from wellwired.writers.dead_letters import Letter

SECRET = "hunter2-4111111111111111"

__all__ = ["SECRET", "died", "ending", "letter", "run", "started"]

CLOCK = VirtualClock()


def ending(outcome: Outcome = Outcome.NOT_APPLIED, reason: str = "connection") -> WriteError:
    """What a write ended with."""
    facts: dict[str, Any] = {"phase": Phase.COMMIT, "target": "sql.main", "type": "put", "attempts": 3}
    return BackendError("gone", outcome=outcome, retry=Retry.SAFE, reason=reason, **facts)


def letter(error: WriteError | None = None, *, unit: str = "", target: str = "sql.main", **fields: Any) -> Letter:
    """The letter of a write, a moment after the one before."""
    CLOCK.advance(1.0)
    payload = fields.pop("payload", {"key": "a", "value": SECRET})
    return Letter.of(WriteRequest(target, "put", payload, **fields), error or ending(), clock=CLOCK, unit=unit)


HERE = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": f"{HERE / 'src'}:{HERE}", "PATH": ""}


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own, in the project's folder."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=50, check=False, env=ENVIRONMENT)


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts Python code in a process of its own, to be read from while it runs."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def died(code: str, *arguments: object) -> None:
    """Runs code that kills itself; anything else is a failure."""
    done = run(code, *arguments)
    assert done.returncode == -9, done.stderr
