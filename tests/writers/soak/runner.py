"""One run: sixteen threads write through the fault proxy, the server is disturbed, and everybody's answer is kept.

In this order: the calls; the faults end, and what was held back is delivered; the server ends the last session; what
is there is read and compared. Then the application sends every keyed write again that had no success, by a straight
way, and it is compared once more.
"""

from __future__ import annotations

import faulthandler
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Proxy
from tests.writers.soak.backends import GRACE, TARGET, Place
from tests.writers.soak.plan import Disturbance, FaultPlan, Trouble
from tests.writers.soak.verdicts import SUCCESS, Answer, violations
from tests.writers.soak.workload import Call, Planned
from tests.writers.wire import WIRES, Moment
from wellwired.errors import Outcome, WriteError
from wellwired.middleware import SILENT
from wellwired.middleware.budget import RetryBudget
from wellwired.operations import WriteResult
from wellwired.writers import WriteManager, Writer

__all__ = ["Report", "Run"]

THREADS = 16
PATIENCE = GRACE + 5.0
_SPARE = 60
_SECONDS_TO_END = 120.0

Managed = Callable[[Writer], WriteManager]


def _manager(writer: Writer) -> WriteManager:
    return WriteManager([writer], logger=SILENT, budget=RetryBudget(100_000))


@dataclass
class Report:
    """What a run came to.

    Args:
        title: what it was, with the seed.
        violations: every lie.
        told: how many were told what.
        reasons: the reasons of those that failed.
        ways: how many were asked for in which way, and how many of them were a success.
        open: how many of the UNKNOWN were there, and how many were not.
        hits: how many faults of which kind at which moment.
        troubles: what was done to the server.
        again: what the keyed writes without a success were told in the end.
        retried: how many writes took more than one attempt.
        slowest: seconds beyond its timeout that the slowest call took.
        seconds: how long it all took.
    """

    title: str
    violations: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[Moment, Fault]] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    slowest: float = 0.0
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """It all in a few lines."""
        moments = {moment: Counter[str]() for moment in Moment}
        for (moment, fault), count in self.hits.items():
            moments[moment][fault] += count
        return [
            (
                f"{self.title}: {sum(self.told.values())} writes in {self.seconds:.1f} s, "
                f"{len(self.violations)} violations"
            ),
            f"  asked: {_listed(self.ways)}",
            f"  reasons: {_listed(self.reasons)}",
            f"  told: {_listed(self.told)}; of the UNKNOWN {_listed(self.open)}",
            (
                f"  sent again with their keys: {_listed(self.again)}; {self.retried} took more than one attempt; "
                f"the slowest was {self.slowest:.2f} s beyond its timeout"
            ),
            *(f"  faults at {moment}: {_listed(count)}" for moment, count in moments.items() if count),
            f"  the server: {_listed(self.troubles)}",
            *(f"  VIOLATION {text}" for text in self.violations[:20]),
        ]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()) if count) or "none"


class Run:
    """See the module; made for one run.

    Args:
        kind: of the server: "postgresql", "mariadb" or "redis".
        port: the server's.
        place: where to write.
        plan: the faults.
        manager: makes the manager of a writer.
        server: the server, if it may be disturbed.
        troubles: what is done to it.
        title: for the report.
    """

    def __init__(
        self,
        kind: str,
        port: int,
        place: Place,
        plan: FaultPlan,
        *,
        manager: Managed = _manager,
        server: PrivateServer | None = None,
        troubles: Sequence[Disturbance] = (),
        title: str = "",
    ) -> None:
        self._kind, self._port, self._place, self._plan = kind, port, place, plan
        self._managed = manager
        self._server = server
        self._troubles = list(troubles)
        self._answers: dict[int, list[Answer]] = {}
        self._begun = 0
        self._total = 0
        self._spare = 0
        self._progress = threading.Condition()
        self._up = threading.Event()
        self._up.set()
        self._failures: list[BaseException] = []
        self.report = Report(title or f"{kind}, seed {plan.seed}")

    def go(self, calls: Sequence[Call]) -> Report:
        """Runs it all.

        Args:
            calls: what the application asks for.
        """
        began = time.monotonic()
        self._total = len(calls)
        self._place.prepare()
        with Proxy(self._port, wire=WIRES[self._kind], judge=self._plan.judge) as proxy:
            self._write_all(proxy, calls)
            proxy.calm()
            self._place.leave()
            assert proxy.settle(30), "the proxy holds messages back for ever"
        assert self._place.settled(), "the server does not end the sessions of the run"
        self._compare(calls)
        self._send_again(calls)
        self._compare(calls, again=True)
        self.report.hits.update(proxy.hits)
        self.report.seconds = time.monotonic() - began
        return self.report

    def _write_all(self, proxy: Proxy, calls: Sequence[Call]) -> None:
        manager = self._managed(self._place.open(proxy.port))
        queue, taking = iter(calls), threading.Lock()
        workers = [
            threading.Thread(target=self._guarded, args=(self._work, manager, queue, taking), daemon=True)
            for _ in range(THREADS)
        ]
        disturber = threading.Thread(target=self._guarded, args=(self._disturb,), daemon=True)
        for thread in (*workers, disturber):
            thread.start()
        for thread in (*workers, disturber):
            thread.join(_SECONDS_TO_END + sum(item.timeout for call in calls for item in call.items) / THREADS)
            if thread.is_alive():
                faulthandler.dump_traceback(all_threads=True)
            assert not thread.is_alive(), f"a thread of the run hangs ({self.report.title})"
        manager.close()
        if self._failures:
            raise self._failures[0]

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            self._failures.append(error)
            self._up.set()

    def _work(self, manager: WriteManager, queue: Iterator[Call], taking: threading.Lock) -> None:
        while True:
            with taking:
                call = next(queue, None)
            with self._progress:
                self._begun = self._total if call is None else self._begun + 1
                self._spare -= 1
                wait = not self._up.is_set() and self._spare < 0
                self._progress.notify_all()
            if call is None:
                return
            # While the server is down a few writes learn what that is like; the others are kept for later.
            if wait:
                self._up.wait(_SECONDS_TO_END)
            for item, answer in zip(call.items, self._ask(manager, call), strict=True):
                self._note(call, item, answer)

    def _note(self, call: Call, item: Planned, answer: Answer) -> None:
        self._answers.setdefault(item.number, []).append(answer)
        with self._progress:
            self.report.told[answer.label] += 1
            self.report.reasons[f"{answer.code} {answer.reason} at {answer.phase}"] += answer.code != SUCCESS
            self.report.ways[call.way] += 1
            self.report.ways[f"{call.way} done"] += answer.code == SUCCESS
            self.report.retried += answer.attempts > 1
            self.report.slowest = max(self.report.slowest, answer.seconds - item.timeout)

    def _ask(self, manager: WriteManager, call: Call) -> list[Answer]:
        began = time.monotonic()
        requests = [item.request(TARGET) for item in call.items]
        told: Sequence[WriteResult[Any] | WriteError]
        if call.way == "write":
            told = [_told(lambda: manager.write(requests[0]))]
        elif call.way in ("many", "atomic"):
            told = list(manager.write_many(requests, atomic=call.way == "atomic"))
        else:
            told = _transacted(manager, call)
        seconds = time.monotonic() - began
        return [_answer(what, seconds) for what in told]

    def _disturb(self) -> None:
        server = self._server
        for trouble in self._troubles if server is not None else ():
            self._await_share(trouble.after)
            assert server is not None
            self._make(trouble, server)
            self.report.troubles[trouble.trouble] += 1

    def _await_share(self, share: float) -> None:
        with self._progress:
            self._progress.wait_for(lambda: self._begun >= share * self._total, _SECONDS_TO_END)

    def _make(self, trouble: Disturbance, server: PrivateServer) -> None:
        self._spare = _SPARE
        self._up.clear()
        try:
            if trouble.trouble is Trouble.PAUSE:
                server.pause()
                time.sleep(trouble.seconds)
                server.resume()
            else:
                (server.kill if trouble.trouble is Trouble.KILL else server.stop)()
                server.start()
        finally:
            self._up.set()

    def _compare(self, calls: Sequence[Call], *, again: bool = False) -> None:
        found = self._place.found()
        for text in violations(calls, self._answers, found, patience=PATIENCE, groups=not again):
            if not any(said.startswith(text.partition("; told")[0]) for said in self.report.violations):
                self.report.violations.append(text)
        if again:
            return
        for item in (item for call in calls for item in call.items):
            if any(answer.outcome is Outcome.UNKNOWN for answer in self._answers.get(item.number, ())):
                there = item.number in found.marks or (item.number, 0) in found.rows
                self.report.open["applied" if there else "not applied"] += 1

    def _send_again(self, calls: Sequence[Call]) -> None:
        manager = self._managed(self._place.open(self._port))
        for item in (item for call in calls for item in call.items):
            told = self._answers.get(item.number, [])
            if item.keyed and not item.spoilt and not any(answer.code == SUCCESS for answer in told):
                call = Call("write", (replace(item, timeout=30.0),))
                (answer,) = self._ask(manager, call)
                self.report.again[answer.label + (" replayed" if answer.replayed else "")] += 1
                self._answers.setdefault(item.number, []).append(answer)
                if answer.code != SUCCESS:
                    self.report.violations.append(f"write {item.number} could not be brought to an end: {answer.label}")
        manager.close()
        self._place.leave()


def _told(write: Callable[[], WriteResult[Any]]) -> WriteResult[Any] | WriteError:
    try:
        return write()
    except WriteError as error:
        return error


def _transacted(manager: WriteManager, call: Call) -> list[WriteResult[Any] | WriteError]:
    """Several writes with one commit; the error of the transaction is the answer of each."""
    told: list[WriteResult[Any] | WriteError] = []
    try:
        with manager.transaction(TARGET, timeout=call.items[0].timeout) as transaction:
            for item in call.items:
                request = item.request(TARGET, timed=False)
                if call.way == "nested" and item.spoilt:
                    try:
                        with transaction.nested():
                            transaction.write(request)
                    except WriteError as error:
                        told.append(error)
                else:
                    told.append(transaction.write(request))
    except WriteError as error:
        # One that failed by itself in a nested block keeps its own answer, unless the end of all leaves more open.
        rest: list[WriteResult[Any] | WriteError] = [error] * (len(call.items) - len(told))
        return [error if isinstance(one, WriteResult) else one for one in told] + rest
    return told


def _answer(told: WriteResult[Any] | WriteError, seconds: float) -> Answer:
    if isinstance(told, WriteError):
        return Answer(
            str(told.code), told.outcome, told.phase, told.reason, attempts=told.attempts or 1, seconds=seconds
        )
    return Answer(data=told.data, replayed=told.replayed, attempts=told.attempts, seconds=seconds)
