"""``wellwired demo``: the main job from end to end, with every number checked.

Each step does one thing through the container and reports what it counted beside what it must be. The table at the
end is for people; the exit code is for scripts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table

from wellwired.cli.demo_parts import NAMESPACE, Demo, Tally, demo_settings, profiles
from wellwired.cli.lines import parse_all
from wellwired.cli.loading import RejectsFile, load, security_of
from wellwired.errors import NotFound, WriteTimeoutError
from wellwired.operations import WriteRequest
from wellwired.stores import BackFill, DelegatedStore, StoreStats

__all__ = ["Check", "run_demo"]

LINES, USERS = 1000, 600
APPLIED = 960
REJECTED = {"INVALID_REQUEST": 25, "MALFORMED": 5, "TYPE_NOT_SUPPORTED": 5, "WRITER_NOT_FOUND": 5}
LIMIT = 0.3
"""Seconds that the write which meets a lock is given."""


@dataclass(frozen=True, slots=True)
class Check:
    """One number of the demo.

    Args:
        step: the part of the job.
        what: what was counted.
        expected: what it must be.
        got: what it was.
        note: how long it took, or where.
    """

    step: str
    what: str
    expected: Any
    got: Any
    note: str = ""

    @property
    def right(self) -> bool:
        """Whether it is what it must be."""
        return bool(self.expected == self.got)


Checks = Iterator[Check]


@contextmanager
def _timed() -> Iterator[Callable[[int], str]]:
    """Gives a function that says how many of `count` things were done in a second, since the block began."""
    began = time.perf_counter()

    def shown(count: int) -> str:
        rate = count / (time.perf_counter() - began)
        return f"{rate:,.0f}/s" if rate < 10_000 else f"{rate / 1000:,.0f}k/s"

    yield shown


def _load(demo: Any, folder: Path) -> Checks:
    step = "load"
    data = resources.files("wellwired.cli").joinpath("demo.jsonl")
    manager = demo.write_manager()
    rejects = RejectsFile(folder / "rejects.jsonl")
    with _timed() as rate, data.open("rb") as stream, rejects:
        report = load(parse_all(stream), manager, rejects, secure=security_of(manager), batch="demo")
        note = rate(report.lines)
    yield Check(step, "lines read", LINES, report.lines, note)
    yield Check(step, "updates applied", APPLIED, report.applied)
    for code, count in REJECTED.items():
        yield Check(step, f"no: {code}", count, report.rejected[code])
    yield Check(step, "rejects on disk", LINES - APPLIED, len(rejects.path.read_bytes().splitlines()))
    yield Check(step, "profiles in sql.main", USERS, _count_rows(demo))


def _count_rows(demo: Any, user_id: str | None = None) -> int:
    query = sa.select(sa.func.count()).select_from(profiles)
    if user_id is not None:
        query = query.where(profiles.c.user_id == user_id)
    with demo.sql["main"]().connect() as connection:
        return int(connection.execute(query).scalar_one())


def _users() -> list[str]:
    return [f"u{number:04d}" for number in range(1, USERS + 1)]


def _cache(demo: Any) -> Checks:
    manager = demo.write_manager()
    with _timed() as rate:
        for user in _users():
            payload = {"key": f"{NAMESPACE}:cache:{user}", "value": user, "ttl": 600}
            manager.write(WriteRequest("redis.cache", "cache_set", payload))
        note = rate(USERS)
    found = demo.redis["cache"]().exists(*(f"{NAMESPACE}:cache:{user}" for user in _users()))
    yield Check("caches", "keys in redis.cache", USERS, found, note)


class _Reader:
    """Reads every profile and tells what that changed in the counts of the layers."""

    def __init__(self, store: DelegatedStore[dict[str, Any]]) -> None:
        self.store = store
        self.filled: list[BackFill] = []
        store.on_back_fill(self.filled.append)

    def read(self, step: str, answered_by: str, fills: dict[str, int]) -> Checks:
        before, told = self.store.stats(), len(self.filled)
        with _timed() as rate:
            found = sum(_is_of(self.store.get(user), user) for user in _users())
            note = rate(USERS)
        self.store.flush(10)
        after = self.store.stats()
        yield Check(step, "profiles read", USERS, found, note)
        yield Check(step, f"answered by {answered_by}", USERS, _hits(after, answered_by) - _hits(before, answered_by))
        for layer in ("memory", "redis.cache"):
            count = sum(event.layer == layer for event in self.filled[told:])
            yield Check(step, f"back-fills of {layer}", fills.get(layer, 0), count)


def _is_of(profile: dict[str, Any], user: str) -> bool:
    return str(profile["email"]).endswith(f".{user[1:]}@example.org")


def _hits(stats: StoreStats, layer: str) -> int:
    return next(one.hits for one in stats.layers if one.layer == layer)


def _reads(demo: Any) -> Checks:
    reader = _Reader(demo.profile_store())
    yield from reader.read("read cold", "sql.main", {"memory": USERS, "redis.cache": USERS})
    yield from reader.read("read warm", "memory", {})
    demo.memory().clear()
    yield from reader.read("read afresh", "redis.cache", {"memory": USERS})
    reader.store.delete("u0001")
    gone = "yes" if _is_gone(reader.store) and not _count_rows(demo, "u0001") else "no"
    yield Check("delete", "gone from store and table", "yes", gone)


def _is_gone(store: DelegatedStore[dict[str, Any]]) -> bool:
    try:
        store.get("u0001")
    except NotFound:
        return True
    return False


def _profile(user: str) -> dict[str, str]:
    return {"user_id": user, "name": "Demo", "email": "demo@example.org"}


def _deadlock(demo: Any) -> Checks:
    request = WriteRequest("sql.main", "demo_deadlock", _profile("deadlock"), meta={"tries": []})
    result = demo.write_manager().write(request)
    yield Check("deadlock", "attempts", 2, result.attempts)
    yield Check("deadlock", "rows, applied once", 1, _count_rows(demo, "deadlock"))


@contextmanager
def _locked(demo: Any, user: str) -> Iterator[None]:
    """Another connection holds what the write of `user` needs: the row, or on SQLite the database."""
    engine = demo.sql["main"]()
    with engine.connect() as other, other.begin() as transaction:
        other.execute(profiles.insert(), _profile(user))
        try:
            yield
        finally:
            transaction.rollback()


def _time_limit(demo: Any) -> Checks:
    step, began = "time limit", time.perf_counter()
    request = WriteRequest("sql.main", "profile_insert", _profile("late"), timeout=LIMIT)
    told = "applied"
    with _locked(demo, "late"):
        try:
            demo.write_manager().write(request)
        except WriteTimeoutError as error:
            told = f"{error.code} {error.outcome}"
        took = time.perf_counter() - began
    yield Check(step, f"met a lock, given {LIMIT} s", "TIMEOUT NOT_APPLIED", told, f"{took * 1000:,.0f} ms")
    yield Check(step, "rows, never applied", 0, _count_rows(demo, "late"))


def _counters(demo: Any) -> Checks:
    tally: Tally = demo.metrics()
    expected = {"OK": APPLIED + USERS + 1, "TIMEOUT": 1} | REJECTED
    del expected["MALFORMED"]
    for code, count in expected.items():
        yield Check("counters", f"writes {code}", count, tally.writes[code])
    yield Check("counters", "retries", 1, tally.retries)


def run_demo(out: Console, *, keep: bool = False) -> bool:
    """Runs every step and prints the table.

    Args:
        out: where to print.
        keep: whether the demo's table and keys stay behind.

    Returns:
        Whether every number was what it must be.
    """
    with tempfile.TemporaryDirectory(prefix="wellwired-demo-") as name:
        folder = Path(name)
        settings = demo_settings(folder)
        checks: list[Check] = []
        with Demo(settings=settings) as demo, _own_table(demo, keep=keep):
            _say_where(out, demo)
            for step in (partial(_load, folder=folder), _cache, _reads, _deadlock, _time_limit, _counters):
                checks.extend(step(demo))
    out.print(_drawn(checks))
    wrong = sum(not check.right for check in checks)
    verdict = "every number is what it must be" if not wrong else f"{wrong} of {len(checks)} numbers are wrong"
    out.print(verdict, style="green" if not wrong else "red")
    return not wrong


@contextmanager
def _own_table(demo: Any, *, keep: bool) -> Iterator[None]:
    engine, client = demo.sql["main"](), demo.redis["cache"]()
    profiles.drop(engine, checkfirst=True)
    profiles.create(engine)
    _forget_keys(client)
    try:
        yield
    finally:
        if not keep:
            profiles.drop(engine)
            _forget_keys(client)


def _forget_keys(client: Any) -> None:
    for pattern in (f"{NAMESPACE}:*", f"{NAMESPACE}!*"):
        if keys := list(client.scan_iter(match=pattern, count=1000)):
            client.unlink(*keys)


def _say_where(out: Console, demo: Any) -> None:
    kind = demo.sql["main"]().dialect.name
    redis = "a Redis server" if "memory" not in _scheme(demo) else "an embedded Redis"
    out.print(f"sql.main is {kind}, redis.cache is {redis}", highlight=False)


def _scheme(demo: Any) -> str:
    url: str = demo.settings().redis["cache"].url.get_secret_value()
    return url.partition(":")[0]


def _drawn(checks: list[Check]) -> Table:
    table = Table(title="wellwired demo", box=box.SIMPLE_HEAD)
    for heading in ("step", "what", "is"):
        table.add_column(heading, no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    last = ""
    for check in checks:
        step = check.step if check.step != last else ""
        last = check.step
        is_ = _shown(check.got) if check.right else f"{_shown(check.got)}, must be {_shown(check.expected)}"
        mark = "[green]✓[/green]" if check.right else "[red]✗[/red]"
        table.add_row(step, check.what, is_, mark, check.note)
    return table


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
