"""The container of one test: made or borrowed, overridden, started; afterwards as if nothing had been.

A class gives every test a container of its own. An instance belongs to somebody else, such as an application: it is
overridden and started in place, and then stopped if it was not started before, wired again as it was, and rid of the
singletons that the test has built.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from wellwired.clock import SYSTEM
from wellwired.containers import providers
from wellwired.containers._overriding import standing
from wellwired.containers._singleton import Singleton
from wellwired.errors import StateError, UnknownProviderError
from wellwired.integrations._hosting import Source, instance_of
from wellwired.testing import _leaks
from wellwired.testing._beside import beside
from wellwired.testing._marks import merged
from wellwired.testing._spies import Spy, spied
from wellwired.testing.clock import VirtualClock
from wellwired.testing.faults import Faults
from wellwired.testing.twins import in_memory
from wellwired.testing.writes import RecordedWrites

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Stage", "staged"]


class Stage:
    """A container in the hands of one test; made by `staged`.

    Args:
        container: the container.
        stack: what takes everything back at the end.
    """

    def __init__(self, container: ContainerInstance, stack: ExitStack) -> None:
        self.container = container
        self._stack = stack
        self._others = standing()
        self._stacks = _leaks.stacks(container)
        self._parts: dict[str, Any] = {}

    def override(self, replacements: Mapping[Any, Any]) -> None:
        """Overrides until the end of the test."""
        if replacements:
            overriding = self.container.overriding(replacements)
            self._stack.enter_context(overriding)
            self._others.append(overriding)

    def swap(self) -> None:
        """Swaps every real backend for its twin in memory, unless that was done."""
        if "in_memory" not in self._parts:
            self._parts["in_memory"] = True
            self.override(in_memory(self.container))

    def tell_time(self) -> VirtualClock:
        """The clock of the test, which from now on is the container's."""
        if "clock" not in self._parts:
            self._parts["clock"] = VirtualClock()
            try:
                self.override({"clock": self._parts["clock"]})
            except UnknownProviderError:
                title = self.container.title
                text = f"{title} has no provider `clock`; inherit Application, or declare one and hand it to the others"
                raise StateError(text) from None
        found: VirtualClock = self._parts["clock"]
        return found

    def record(self) -> RecordedWrites:
        """What is written from now on."""
        if "writes" not in self._parts:
            writes = self._parts["writes"] = RecordedWrites()
            middleware = self.container.provider("write_middleware")
            around = providers.Callable(lambda found: [*found, writes], beside(self.container, middleware))
            self.override({middleware: around})
        found: RecordedWrites = self._parts["writes"]
        return found

    @property
    def faults(self) -> Faults:
        """Faults to order; they sleep on the clock of the test, if it has asked for one."""
        if "faults" not in self._parts:
            clock = self._parts.get("clock", SYSTEM)
            self._parts["faults"] = self._stack.enter_context(Faults(self.container, clock))
        found: Faults = self._parts["faults"]
        return found

    def spy(self, mocker: Any, id: str, part: str, backend: str) -> Spy:
        """Puts a spy on an object until the end of the test."""
        return spied(self.container, self._stack, mocker, id=id, part=part, backend=backend)

    def clear(self, left: list[str]) -> None:
        """Takes back what the test has left overridden here, and adds its ids to a list."""
        own = [one for one in standing() if one.container is self.container and one not in self._others]
        left += _leaks.end([*own, *_leaks.put_by_hand(self.container, self._stacks)])


@contextmanager
def staged(
    source: Source, marks: Sequence[Mapping[Any, Any]], wanted: Container[str], left: list[str]
) -> Generator[Stage]:
    """A started container for the length of a block.

    Args:
        source: a container class, an instance, or ``module:Class``.
        marks: what to override, the farthest first.
        wanted: what is to be done to it before it is started: ``in_memory``, ``clock``, ``writes``.
        left: is given the ids of what the test has left overridden, at the end.

    Raises:
        WellwiredError: the source is none, or an override names nothing.
        ExceptionGroup: it cannot be started.
    """
    container = instance_of(source)
    with ExitStack() as stack:
        stack.enter_context(_as_it_was(container))
        stage = Stage(container, stack)
        stage.override(merged(container, marks))
        if "in_memory" in wanted:
            stage.swap()
        if "clock" in wanted:
            stage.tell_time()
        if "writes" in wanted:
            stage.record()
        stack.enter_context(_running(container))
        # What is put on from here on is taken off before.
        stack.callback(stage.clear, left)
        yield stage


@contextmanager
def _running(container: ContainerInstance) -> Generator[None]:
    """Started inside the block; afterwards stopped, and wired as it was, unless it was started before."""
    if container.started:
        yield
        return
    try:
        container.start()
        yield
    finally:
        try:
            container.stop()
        finally:
            container._wire_again()


@contextmanager
def _as_it_was(container: ContainerInstance) -> Generator[None]:
    """Afterwards no singleton is left that was built inside the block."""
    before = _built(container)
    try:
        yield
    finally:
        life = container._life
        life.rebuild([one for one in _built(container) if one not in before], life.relations())


def _built(container: ContainerInstance) -> list[Singleton[Any]]:
    nodes = container._life.relations().nodes
    return [one for one in nodes if isinstance(one, Singleton) and one.created]
