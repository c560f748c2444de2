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
        limit: the ratio that is wanted at most, or None where nothing is asked for.
        ours_holds: how many of what is measured one round of ours does.
        floor_holds: how many one round of the floor does.
    """

    what: str
    against: str
    ours: str
    floor: str
    limit: float | None = None
    ours_holds: int = 1
    floor_holds: int = 1


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
    Row("L1 hit, three layers, shared values", "theine", "test_hit_ours", "test_hit_theine"),
    Row("L1 hit, three layers, shared values", "cachebox, in Rust", "test_hit_ours", "test_hit_cachebox"),
    Row("L1 miss, L2 hit in Redis, back-fill", "GET + decode", "test_l2_ours", "test_l2_plain", 1.10),
    Row("L1 miss, L2 hit in Redis, back-fill", "dogpile, Redis only", "test_l2_ours", "test_l2_dogpile"),
    Row("get_many of 100 from Redis", "MGET + decode", "test_many_ours", "test_many_plain", 1.2),
    Row("get_many of 100 from Redis", "dogpile", "test_many_ours", "test_many_dogpile"),
    Row("a managed write, SQLite", "SQLAlchemy Core", "test_write_ours[sqlite]", "test_write_core[sqlite]", 1.25),
    Row("a managed write, MariaDB", "SQLAlchemy Core", "test_write_ours[mariadb]", "test_write_core[mariadb]", 1.10),
    Row(
        "a managed write, PostgreSQL",
        "SQLAlchemy Core",
        "test_write_ours[postgresql]",
        "test_write_core[postgresql]",
        1.10,
    ),
    *(
        row
        for kind, name in (("sqlite", "SQLite"), ("mariadb", "MariaDB"), ("postgresql", "PostgreSQL"))
        for row in (
            Row(
                f"a row of write_many(1,000), {name}",
                "execute(insert, list)",
                f"test_many_ours[{kind}]",
                f"test_many_core[{kind}]",
                1.3,
                1000,
                1000,
            ),
            Row(
                f"a row of write_many(1,000), {name}",
                "a managed write",
                f"test_many_ours[{kind}]",
                f"test_write_ours[{kind}]",
                0.05,
                1000,
            ),
            Row(
                f"a write of a transaction of ten, {name}",
                "SQLAlchemy Core, likewise",
                f"test_transaction_ours[{kind}]",
                f"test_transaction_core[{kind}]",
                None,
                10,
                10,
            ),
            Row(
                f"a write of one of 16 threads, shared commits, {name}",
                "a COMMIT for each",
                f"test_threads[{kind}-shared]",
                f"test_threads[{kind}-own]",
                None,
                400,
                400,
            ),
            Row(
                f"a write with an idempotency key, {name}",
                "one without",
                f"test_keyed_ours[{kind}]",
                f"test_write_ours[{kind}]",
            ),
        )
    ),
    *(
        Row(f"a write into a dict, {layer}", "through a bare manager", f"test_layer[{layer}]", "test_layer[bare]")
        for layer in ("middleware", "each attempt", "attempt limit", "breaker", "metrics", "log line", "all of them")
    ),
    *(
        Row(
            f"a managed write, Redis, {way}",
            "redis-py's MULTI",
            f"test_redis_write_ours[-{way}]",
            "test_redis_write_plain",
        )
        for way in ("block", "fenced")
    ),
    Row(
        "an attempt on Redis, fenced",
        "as a MULTI block",
        "test_redis_attempt_ours[-fenced]",
        "test_redis_attempt_ours[-block]",
    ),
    *(
        Row(
            f"write_many(1,000), Redis, {way}",
            "redis-py's pipeline",
            f"test_redis_many_ours[-{way}]",
            "test_redis_many_plain",
        )
        for way in ("block", "fenced", "together")
    ),
)
