"""Error numbers of MySQL, MariaDB and TiDB.

Sources: the servers' error references; InnoDB's own error handling (which errors end the transaction, which only the
statement); TiDB's list of codes. MariaDB 1969 and MySQL 3024 are the statement timers.
"""

from __future__ import annotations

from collections.abc import Iterable

from wellwired.writers._rules import Kind, Native, Rule

__all__ = ["RULES"]


def _all(codes: Iterable[int], kind: Kind, reason: str, *, ends: bool = False) -> dict[Native, Rule]:
    return dict.fromkeys(codes, Rule(kind, reason, ends))


RULES: dict[Native, Rule] = {
    **_all((1213, 1614, 1689, 3058, 3101), Kind.CONFLICT, "deadlock", ends=True),
    # 1020 ends the transaction under MariaDB's snapshot isolation.
    **_all((1020,), Kind.CONFLICT, "serialization", ends=True),
    # Only the statement is rolled back, unless innodb_rollback_on_timeout is set: then the head is gone as well.
    **_all((1205, 3572), Kind.CONFLICT, "lock", ends=True),
    **_all((8002, 8005, 8022, 8028, 9007), Kind.CONFLICT, "serialization", ends=True),
    **_all((1317, 1969, 3024), Kind.TIMER, "timer"),
    **_all((1927, 2006, 2013, 2014, 2027, 2045, 2055, 4031), Kind.LOST, "connection", ends=True),
    **_all((1158, 1159, 1160, 1161), Kind.LOST, "connection", ends=True),
    **_all((1053, 1077, 1078, 1079), Kind.LOST, "shutdown", ends=True),
    **_all((2002, 2003, 2005, 2012), Kind.UNAVAILABLE, "connection", ends=True),
    **_all((1047,), Kind.UNAVAILABLE, "not_ready", ends=True),
    **_all((1290, 1792, 1836), Kind.UNAVAILABLE, "read_only"),
    **_all((1040, 1203, 1226), Kind.CAPACITY, "connections"),
    **_all((1021, 1037, 1038, 1041, 1114, 1206, 1637), Kind.CAPACITY, "capacity"),
    **_all((8001, 8004), Kind.CAPACITY, "capacity"),
    **_all((9001, 9002, 9003, 9004, 9005), Kind.LOST, "connection", ends=True),
    **_all((1180, 8501), Kind.UNSURE, "commit_unknown", ends=True),
    **_all((1022, 1062, 1169, 1586), Kind.PERMANENT, "duplicate"),
    **_all((1048, 1215, 1216, 1217, 1364, 1451, 1452, 1557, 1761, 1762, 3819, 4025), Kind.PERMANENT, "constraint"),
    **_all((1264, 1265, 1292, 1366, 1367, 1406, 1411, 1441, 1690, 3140, 3156, 3157), Kind.PERMANENT, "data"),
    **_all((1054, 1064, 1136, 1146, 1149, 1305, 1318), Kind.PERMANENT, "statement"),
    **_all((1049,), Kind.PERMANENT, "no_database"),
    **_all((1044, 1045, 1130, 1142, 1143, 1227, 1698), Kind.PERMANENT, "permission"),
    **_all((1118, 1153, 1390), Kind.PERMANENT, "too_large"),
    **_all((1644,), Kind.PERMANENT, "signal"),
}
"""From errno to rule; a number that is not here is permanent."""
