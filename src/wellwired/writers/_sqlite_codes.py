"""Result codes of SQLite.

An extended code is looked up first, then its low byte, the primary code. Source: SQLite's list of result codes.
"""

from __future__ import annotations

from wellwired.writers._rules import Kind, Native, Rule

__all__ = ["RULES"]

_PERMANENT = Kind.PERMANENT

RULES: dict[Native, Rule] = {
    5: Rule(Kind.CONFLICT, "lock"),
    # Another connection wrote after this transaction had read: waiting would never help, a fresh start does.
    517: Rule(Kind.CONFLICT, "serialization", ends=True),
    6: Rule(Kind.CONFLICT, "lock"),
    15: Rule(Kind.CONFLICT, "lock"),
    17: Rule(Kind.CONFLICT, "stale_plan"),
    516: Rule(Kind.CONFLICT, "serialization", ends=True),
    9: Rule(Kind.TIMER, "timer", ends=True),
    # These may roll the whole transaction back by themselves.
    7: Rule(Kind.CAPACITY, "capacity", ends=True),
    13: Rule(Kind.CAPACITY, "capacity", ends=True),
    10: Rule(Kind.UNSURE, "disk", ends=True),
    8: Rule(_PERMANENT, "read_only"),
    19: Rule(_PERMANENT, "constraint"),
    1555: Rule(_PERMANENT, "duplicate"),
    2067: Rule(_PERMANENT, "duplicate"),
    2579: Rule(_PERMANENT, "duplicate"),
    1: Rule(_PERMANENT, "statement"),
    11: Rule(_PERMANENT, "damaged"),
    26: Rule(_PERMANENT, "damaged"),
    14: Rule(_PERMANENT, "no_database"),
    18: Rule(_PERMANENT, "too_large"),
    20: Rule(_PERMANENT, "data"),
    23: Rule(_PERMANENT, "permission"),
    21: Rule(_PERMANENT, "statement"),
    25: Rule(_PERMANENT, "statement"),
}
"""From result code, extended or primary, to rule; what is not here is permanent."""
