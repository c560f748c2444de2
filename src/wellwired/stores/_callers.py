"""A few threads that make the calls which nobody must wait for longer than a limit, and the loads of the background.

A call into a driver cannot be ended from outside. So it is made by a thread of its own, and who asked waits for as long
as it wants to: a call that was given up goes on to its end, and what it brings is thrown away or handed to somebody
who has a use for it. Only what can do no harm when it happens late may be called so. The threads are bounded; when all
of them hang, further calls wait in line and are given up there, without having been made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

import structlog

__all__ = ["Callers", "NoAnswer"]

P = ParamSpec("P")
R = TypeVar("R")

_log = structlog.get_logger("wellwired.stores")


class NoAnswer(Exception):  # noqa: N818 - it never leaves the stores
    """A call was given up because its time had passed."""


class _Call:
    """One call on its way; the lock is let go of when it has ended."""

    __slots__ = ("answer", "context", "done", "error", "given_up", "late", "work")

    def __init__(self, work: Callable[[], Any], late: Callable[[Any], object] | None) -> None:
        self.work, self.late = work, late
        self.context: Context = copy_context()
        self.done = threading.Lock()
        self.done.acquire()
        self.given_up = False
        self.answer: Any = None
        self.error: BaseException | None = None

    def wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.given_up

    def run(self) -> None:
        """Makes the call, unless nobody waits for it any more."""
        if not self.wanted():
            return
        try:
            self.answer = self.context.run(self.work)
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            self.error = error
        self.done.release()
        if self.late is not None and self.error is None and not self.wanted():
            self.late(self.answer)


class Callers:
    """A bounded number of threads that make calls; safe for threads.

    They are daemons, started when there is work for them; one that has had none for a while ends.

    Args:
        name: what the threads are called.
        limit: how many there are at most.
        idle: seconds without work after which one ends.
    """

    def __init__(self, name: str, limit: int, idle: float = 5.0) -> None:
        self._name, self._limit, self._patience = name, limit, idle
        self.after_fork()

    def after_fork(self) -> None:
        """Begins without threads: those of the parent do not exist in the child."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._threads = self._idle = 0

    @property
    def busy(self) -> int:
        """How many threads are making a call."""
        return self._threads - self._idle

    def call(
        self,
        seconds: float,
        call: Callable[P, R],
        late: Callable[[R], object] | None = None,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Makes a call and waits for its answer.

        Args:
            seconds: how long to wait at most.
            call: what to call, in the context of the caller.
            late: is given the answer if it comes after all, in the thread that made the call.
            *args: what to call it with.
            **kwargs: what to call it with.

        Raises:
            NoAnswer: the time had passed. The call goes on, if it had begun.
            Exception: what the call raised.
        """
        task = _Call(lambda: call(*args, **kwargs), late)
        self._enter(task)
        if not task.done.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            task.given_up = True
            if not task.done.acquire(blocking=False):  # it may have ended in this very moment
                raise NoAnswer
        if task.error is not None:
            raise task.error
        answer: R = task.answer
        return answer

    def start(self, work: Callable[[], object], waiting: int) -> bool:
        """Has work done without waiting for it; False if too much is waiting already.

        Args:
            work: raises nothing.
            waiting: how much may wait for a thread.
        """
        if self._calls.qsize() - self._idle >= waiting and self._threads >= self._limit:
            return False
        self._enter(_Call(work, None))
        return True

    def _enter(self, task: _Call) -> None:
        self._calls.put(task)
        with self._lock:
            if self._calls.qsize() <= self._idle or self._threads >= self._limit:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:  # out of threads, or the interpreter is ending: whoever waits gives up in time
            with self._lock:
                self._threads -= 1

    def _run(self) -> None:
        calls, lock = self._calls, self._lock
        while True:
            with lock:
                self._idle += 1
            try:
                task: _Call | None = calls.get(timeout=self._patience)
            except Empty:
                task = None
            with lock:
                self._idle -= 1
                if task is None and calls.empty():
                    self._threads -= 1
                    return
            if task is not None:
                self._make(task)

    def _make(self, task: _Call) -> None:
        try:
            task.run()
        except BaseException as error:  # noqa: BLE001 - nobody waits; the thread is needed for others
            _log.error("store.late_answer_failed", threads=self._name, error=type(error).__qualname__)
