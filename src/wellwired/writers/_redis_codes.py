"""First words of Redis errors.

Redis has no numbers: an error reply begins with a word in capitals, which is as stable as a number. A word is looked
up as the server sent it. Source: the server's `shared` replies and its documentation of errors.
"""

from __future__ import annotations

from wellwired.writers._rules import Kind, Native, Rule

__all__ = ["RULES"]

_PERMANENT = Kind.PERMANENT

RULES: dict[Native, Rule] = {
    "LOADING": Rule(Kind.UNAVAILABLE, "not_ready"),
    "CLUSTERDOWN": Rule(Kind.UNAVAILABLE, "not_ready"),
    "MASTERDOWN": Rule(Kind.UNAVAILABLE, "not_ready"),
    "NOREPLICAS": Rule(Kind.UNAVAILABLE, "not_ready"),
    "READONLY": Rule(Kind.UNAVAILABLE, "read_only"),
    "TRYAGAIN": Rule(Kind.CONFLICT, "lock"),
    "BUSY": Rule(Kind.CONFLICT, "lock"),
    "MOVED": Rule(Kind.UNAVAILABLE, "moved"),
    "ASK": Rule(Kind.UNAVAILABLE, "moved"),
    # Ours: EXEC answered nil, a watched key had changed.
    "WATCH": Rule(Kind.CONFLICT, "serialization"),
    # Evicted from the script cache; the next attempt sends its text.
    "NOSCRIPT": Rule(Kind.CONFLICT, "stale_plan"),
    "OOM": Rule(Kind.CAPACITY, "capacity"),
    "MISCONF": Rule(Kind.CAPACITY, "disk"),
    # Ours: the server closed a connection that it had no room for, or the client's pool had none.
    "MAXCLIENTS": Rule(Kind.CAPACITY, "connections"),
    "WRONGTYPE": Rule(_PERMANENT, "data"),
    "ERR": Rule(_PERMANENT, "statement"),
    "EXECABORT": Rule(_PERMANENT, "statement"),
    "CROSSSLOT": Rule(_PERMANENT, "statement"),
    "BUSYKEY": Rule(_PERMANENT, "duplicate"),
    "BUSYGROUP": Rule(_PERMANENT, "duplicate"),
    "NOGROUP": Rule(_PERMANENT, "statement"),
    "NOAUTH": Rule(_PERMANENT, "permission"),
    "WRONGPASS": Rule(_PERMANENT, "permission"),
    "NOPERM": Rule(_PERMANENT, "permission"),
    "DENIED": Rule(_PERMANENT, "permission"),
}
"""From first word to rule; a word that is not here is permanent."""
