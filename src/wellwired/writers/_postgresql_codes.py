"""SQLSTATEs of PostgreSQL and of servers that speak its protocol, CockroachDB among them.

A code of five characters is looked up first, then its class of two. Sources: PostgreSQL's appendix of error codes;
its chapter on serialization failures, which says that the whole transaction is to be run again; CockroachDB on
ambiguous results (40003).
"""

from __future__ import annotations

from wellwired.writers._rules import Kind, Native, Rule

__all__ = ["RULES"]

_PERMANENT = Kind.PERMANENT

RULES: dict[Native, Rule] = {
    "40001": Rule(Kind.CONFLICT, "serialization"),
    "40P01": Rule(Kind.CONFLICT, "deadlock"),
    "55P03": Rule(Kind.CONFLICT, "lock"),
    "55006": Rule(Kind.CONFLICT, "lock"),
    "26000": Rule(Kind.CONFLICT, "stale_plan"),
    "57014": Rule(Kind.TIMER, "timer"),
    "25P03": Rule(Kind.TIMER, "timer"),
    "25P04": Rule(Kind.TIMER, "timer"),
    "08": Rule(Kind.LOST, "connection"),
    "57P01": Rule(Kind.LOST, "shutdown"),
    "57P02": Rule(Kind.LOST, "shutdown"),
    "57P05": Rule(Kind.LOST, "connection"),
    "08001": Rule(Kind.UNAVAILABLE, "connection"),
    "08004": Rule(Kind.UNAVAILABLE, "connection"),
    "57P03": Rule(Kind.UNAVAILABLE, "not_ready"),
    "25006": Rule(Kind.UNAVAILABLE, "read_only"),
    "53": Rule(Kind.CAPACITY, "capacity"),
    "53300": Rule(Kind.CAPACITY, "connections"),
    "08007": Rule(Kind.UNSURE, "commit_unknown"),
    "40003": Rule(Kind.UNSURE, "commit_unknown"),
    "23505": Rule(_PERMANENT, "duplicate"),
    "23P01": Rule(_PERMANENT, "duplicate"),
    "23": Rule(_PERMANENT, "constraint"),
    "40002": Rule(_PERMANENT, "constraint"),
    "44": Rule(_PERMANENT, "constraint"),
    "21": Rule(_PERMANENT, "data"),
    "22": Rule(_PERMANENT, "data"),
    # The transaction had failed already and someone went on with it: the first error is the one to mend.
    "25P02": Rule(_PERMANENT, "handler"),
    "0A": Rule(_PERMANENT, "statement"),
    "42": Rule(_PERMANENT, "statement"),
    "42501": Rule(_PERMANENT, "permission"),
    "28": Rule(_PERMANENT, "permission"),
    "3D": Rule(_PERMANENT, "no_database"),
    "57P04": Rule(_PERMANENT, "no_database"),
    "3F": Rule(_PERMANENT, "statement"),
    "54": Rule(_PERMANENT, "too_large"),
    "P0": Rule(_PERMANENT, "signal"),
    "58": Rule(_PERMANENT, "server"),
    "XX": Rule(_PERMANENT, "server"),
}
"""From SQLSTATE, or its class, to rule; what is not here is permanent."""
