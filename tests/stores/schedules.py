"""Threads that take turns as a seed says: every interleaving of a test can be repeated by its number.

Each task is a real thread, but only one of them runs at a time. It goes on until it comes to a point (a call of a
layer, a lock, an event), where the seed decides who runs next. Locks and events that the code under test waits for are
replaced by ones that the scheduler knows (`fake_threading`), so a deadlock is found at once and not waited for.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

__all__ = ["Deadlock", "Scheduler", "fake_threading"]


class Deadlock(AssertionError):  # noqa: N818 - what it is
    """Nobody can go on."""


class _Task:
    """One thread of a schedule."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name, self.work = name, work
        self.go = threading.Lock()
        self.go.acquire()
        self.ready: Callable[[], bool] | None = None
        self.may_time_out = self.timed_out = False
        self.error: BaseException | None = None


class Scheduler:
    """Runs tasks one at a time; `steps` counts the points that were passed.

    Args:
        seed: what decides.
    """

    current: Scheduler | None = None

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.steps = 0
        self.tasks: list[_Task] = []
        self.running: _Task | None = None
        self.broken: BaseException | None = None
        self._over = threading.Lock()
        self._over.acquire()

    def spawn(self, name: str, work: Callable[[], object]) -> None:
        """Adds a task; it begins when it is chosen."""
        task = _Task(name, work)
        self.tasks.append(task)
        threading.Thread(target=self._live, args=(task,), name=name, daemon=True).start()

    def run(self) -> None:
        """Runs every task to its end; raises what went wrong first."""
        Scheduler.current = self
        try:
            self._pass_on()
            assert self._over.acquire(timeout=60), "the schedule does not end"
        finally:
            Scheduler.current = None
        if self.broken is not None:
            raise self.broken

    def point(self) -> None:
        """Lets the seed decide who goes on; only in a task."""
        self.wait_until(None)

    def wait_until(self, ready: Callable[[], bool] | None, *, may_time_out: bool = False) -> bool:
        """Lets others run until something holds; False if nobody could make it hold and the wait was a limited one."""
        task = self.running
        assert task is not None
        self.steps += 1
        task.ready, task.may_time_out, task.timed_out = ready, may_time_out, False
        following = self._choose()
        if following is not task:
            self.running = following
            if following is None:
                self._over.release()
            else:
                following.go.release()
            task.go.acquire()
        task.ready = None
        if self.broken is not None:
            raise self.broken
        return not task.timed_out

    def _choose(self) -> _Task | None:
        if self.broken is not None:  # everybody ends now
            return self.tasks[0] if self.tasks else None
        able = [task for task in self.tasks if task.ready is None or task.ready()]
        if able:
            return able[0] if len(able) == 1 else able[int(self.rng.random() * len(able))]
        if waiting := [task for task in self.tasks if task.may_time_out]:
            chosen = waiting[int(self.rng.random() * len(waiting))]
            chosen.timed_out = True
            return chosen
        if self.tasks:
            self.broken = Deadlock(f"nobody can go on: {', '.join(task.name for task in self.tasks)}")
            return self.tasks[0]
        return None

    def _live(self, task: _Task) -> None:
        task.go.acquire()
        try:
            if self.broken is None:
                task.work()
        except BaseException as error:  # noqa: BLE001 - the first of them is the schedule's
            self.broken = self.broken or error
        self.tasks.remove(task)
        self._pass_on()

    def _pass_on(self) -> None:
        self.running = following = self._choose()
        if following is None:
            self._over.release()
        else:
            following.go.release()


class _Lock:
    """A lock that the scheduler knows; outside of a schedule it is free."""

    def __init__(self) -> None:
        self.held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Waits for it; who waits for a limited time gives up now and then."""
        scheduler = Scheduler.current
        if scheduler is not None and self.held:
            if timeout >= 0 and scheduler.rng.random() < 0.5:
                return False
            scheduler.wait_until(lambda: not self.held)
        self.held = True
        if scheduler is not None:
            scheduler.point()  # with the lock held, which is where a race would be
        return True

    def release(self) -> None:
        """Lets go of it."""
        self.held = False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class _RLock(_Lock):
    """The same for one that its owner may take again."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: Any = None
        self.depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Waits for it."""
        me = threading.get_ident()
        if self.owner != me:
            if not super().acquire(blocking, timeout):
                return False
            self.owner = me
        self.depth += 1
        return True

    def release(self) -> None:
        """Lets go of it."""
        self.depth -= 1
        if not self.depth:
            self.owner = None
            super().release()


class _Event:
    """An event that the scheduler knows."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def set(self) -> None:
        """Makes it happen."""
        self._set = True

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for it; a limited wait ends in vain when nobody else can go on."""
        scheduler = Scheduler.current
        if self._set or scheduler is None:
            return self._set
        return scheduler.wait_until(self.is_set, may_time_out=timeout is not None)


fake_threading: Any = SimpleNamespace(
    Lock=_Lock, RLock=_RLock, Event=_Event, get_ident=threading.get_ident, Thread=threading.Thread
)
"""What stands in for the module `threading` in the modules under test that wait for one another."""
