"""The watch that ends what is late: at its moment, once, and never after it was called off."""

from __future__ import annotations

import threading
import time

import pytest

from wellwired.writers import _watch
from wellwired.writers._watch import Guard, Watch


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Watch:
    """A watch of the test's own."""
    return Watch(request.node.name)


def threads_of(request: pytest.FixtureRequest) -> list[threading.Thread]:
    """The threads of the test's watch."""
    return [thread for thread in threading.enumerate() if thread.name == f"wellwired-watch-{request.node.name}"]


class TestGuard:
    """One guard, looked at by hand."""

    def test_it_fires_at_its_moment_and_once(self) -> None:
        """Before its moment nothing happens; after it the cut is made, and not again."""
        cuts: list[str] = []
        guard = Guard(10.0, lambda: cuts.append("cut"))

        guard.look(9.9)
        assert (cuts, guard.fired) == ([], False)
        guard.look(10.0)
        guard.look(11.0)

        assert (cuts, guard.fired) == (["cut"], True)

    def test_it_can_be_moved_until_it_has_fired(self) -> None:
        """The new moment and the new cut count; a guard that has fired cannot be moved."""
        cuts: list[str] = []
        guard = Guard(10.0, lambda: cuts.append("first"))

        assert guard.move(20.0, lambda: cuts.append("second"))
        guard.look(15.0)
        assert cuts == []
        guard.look(20.0)

        assert cuts == ["second"]
        assert not guard.move(30.0, lambda: cuts.append("third"))

    def test_after_its_end_nothing_is_cut(self) -> None:
        """Closing says whether it had fired, and makes it harmless."""
        cuts: list[str] = []
        guard = Guard(10.0, lambda: cuts.append("cut"))

        assert guard.close() is False
        guard.look(11.0)

        assert (cuts, guard.fired) == ([], False)

    def test_a_cut_under_way_is_waited_for(self) -> None:
        """Whoever closes a guard knows that its cut is either made or never will be."""
        inside, go_on = threading.Event(), threading.Event()

        def cut() -> None:
            inside.set()
            go_on.wait(10)

        guard = Guard(10.0, cut)
        looking = threading.Thread(target=guard.look, args=(11.0,))
        looking.start()
        assert inside.wait(10)
        closed: list[bool] = []
        closing = threading.Thread(target=lambda: closed.append(guard.close()))
        closing.start()
        closing.join(0.05)
        assert closed == []
        go_on.set()
        closing.join(10)
        looking.join(10)

        assert closed == [True]


class TestWatch:
    """The thread that looks."""

    def test_what_is_late_is_cut_soon_after(self, watch: Watch) -> None:
        """A guard fires within a few hundredths of a second of its moment."""
        fired = threading.Event()
        began = time.monotonic()
        guard = watch.guard(0.05, fired.set)

        assert fired.wait(10)
        assert 0.05 <= time.monotonic() - began < 0.5
        assert watch.end(guard) is True

    def test_what_ends_in_time_is_not(self, watch: Watch) -> None:
        """A guard that was ended stays harmless while others fire."""
        cut, fired = threading.Event(), threading.Event()
        early = watch.guard(0.05, cut.set)
        assert watch.end(early) is False
        late = watch.guard(0.1, fired.set)

        assert fired.wait(10)
        assert not cut.is_set()
        watch.end(late)

    def test_its_thread_ends_when_there_is_nothing_to_watch(
        self, watch: Watch, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An idle application has no thread; the next guard starts another."""
        monkeypatch.setattr(_watch, "_IDLE", 0.0)
        for _ in range(2):
            watch.end(watch.guard(60, lambda: None))
            for thread in threads_of(request):
                thread.join(10)
                assert not thread.is_alive()
        fired = threading.Event()
        guard = watch.guard(0.0, fired.set)

        assert fired.wait(10)
        watch.end(guard)

    def test_one_thread_serves_many(self, watch: Watch, request: pytest.FixtureRequest) -> None:
        """However many writes there are at once."""
        guards = [watch.guard(60, lambda: None) for _ in range(50)]

        assert len(threads_of(request)) == 1
        for guard in guards:
            watch.end(guard)

    def test_racing_guards_all_fire_though_the_thread_keeps_ending(
        self, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A guard that is made at the very moment when the thread ends is not forgotten."""
        monkeypatch.setattr(_watch, "_IDLE", 0.0)
        monkeypatch.setattr(_watch, "_TICK", 0.0)

        def many() -> None:
            for _ in range(300):
                fired = threading.Event()
                guard = watch.guard(0.0, fired.set)
                assert fired.wait(10), "a guard was forgotten"
                watch.end(guard)

        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def test_it_begins_anew_in_a_child(self, watch: Watch) -> None:
        """After a fork the thread is missing: renewed, the next guard starts one."""
        watch.guard(60, lambda: None)
        watch.renew()
        fired = threading.Event()

        guard = watch.guard(0.0, fired.set)

        assert fired.wait(10)
        watch.end(guard)
