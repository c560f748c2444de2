"""Whether code runs inside an attempt of a write.

Whoever retries a write repeats everything inside it, so a write in there is tried once. What runs after the commit is
not inside any more, although the call has not returned.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["inside"]

inside: ContextVar[bool] = ContextVar("wellwired_retrying", default=False)
"""True inside an attempt."""
