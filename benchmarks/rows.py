"""The rows of the speed table: which benchmark is ours, which is the floor, and the ratio that is wanted at most."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio.

    Args:
        what: what is measured.
        against: what it is divided by.
        ours: the name of our benchmark.
        floor: the name of the other one.
        limit: the ratio that is wanted at most.
    """

    what: str
    against: str
    ours: str
    floor: str
    limit: float


ROWS = (
    Row("resolving a singleton", "dependency-injector", "test_singleton_ours", "test_singleton_di", 1.5),
    Row(
        "resolving a singleton",
        "dependency-injector, thread-safe",
        "test_singleton_ours",
        "test_singleton_di_safe",
        1.5,
    ),
    Row("resolving a singleton", "wireup", "test_singleton_ours", "test_singleton_wireup", 1.5),
    Row("resolving a singleton", "dishka", "test_singleton_ours", "test_singleton_dishka", 1.5),
    Row("resolving a resource", "dependency-injector", "test_resource_ours", "test_resource_di", 1.5),
    Row("an injected call", "dependency-injector", "test_injected_ours", "test_injected_di", 1.1),
    Row("start and stop of 100 resources", "dependency-injector", "test_start_ours", "test_start_di", 1.5),
    Row("L1 hit, three layers, shared values", "a dict and a TTL check", "test_hit_ours", "test_hit_plain", 2.0),
    Row("L1 hit, three layers, shared values", "dogpile memory", "test_hit_ours", "test_hit_dogpile", 0.45),
    Row("L1 hit, three layers, shared values", "cachetools + RLock", "test_hit_ours", "test_hit_cachetools", 0.25),
    Row("L1 miss, L2 hit in Redis, back-fill", "GET + decode", "test_l2_ours", "test_l2_plain", 1.10),
    Row("get_many of 100 from Redis", "MGET + decode", "test_many_ours", "test_many_plain", 1.2),
    Row("a managed write, SQLite", "SQLAlchemy Core", "test_write_ours[sqlite]", "test_write_core[sqlite]", 1.25),
    Row("a managed write, MariaDB", "SQLAlchemy Core", "test_write_ours[mariadb]", "test_write_core[mariadb]", 1.10),
    Row(
        "a managed write, PostgreSQL",
        "SQLAlchemy Core",
        "test_write_ours[postgresql]",
        "test_write_core[postgresql]",
        1.10,
    ),
)
