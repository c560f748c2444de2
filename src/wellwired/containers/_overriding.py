"""Overriding: other objects in the place of some, for a while, and everything built on them rebuilt both times.

The override holds for the whole process, not for a thread: it is meant for tests, and for switching a part of a
running application by hand. On entry and on exit every singleton, resource, scoped object and family that depends on
an overridden provider is dropped, so none keeps what is no longer there; open resources among them are closed and
opened again in order. Contexts may end in any order: each takes out its own override, wherever it lies in the stack.
Those that have not ended are on record, so that a test can be told what it has left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from dependency_injector import providers as di

from wellwired.containers._direct import label
from wellwired.containers._named import Member, Named
from wellwired.containers._relations import Relations
from wellwired.containers._targets import Target, refuse_inexact, refuse_missing, stand_in, targets_of
from wellwired.errors import OverrideError, StateError

if TYPE_CHECKING:
    from wellwired.containers._lifecycle import Lifecycle
    from wellwired.containers.container import ContainerInstance

__all__ = ["Overriding", "standing"]

Provider = di.Provider[Any]
C = TypeVar("C", bound="ContainerInstance")

_overridden: WeakSet[Lifecycle] = WeakSet()


def standing() -> list[Overriding[Any]]:
    """The overridings that have been entered and not left, of every container that is alive, the oldest first of each.

    Costs next to nothing while there are none.
    """
    return [one for life in list(_overridden) for one in life.overridings] if _overridden else []


class Overriding(Generic[C]):
    """What `Container.overriding()` returns: nothing changes before it is entered, and all is restored when it is left.

    Args:
        container: whose providers are overridden.
        replacements: from a dotted id or a provider to what stands in for it.
    """

    def __init__(self, container: C, replacements: Mapping[Any, Any]) -> None:
        self._container = container
        self._replacements = dict(replacements)
        self._applied: list[tuple[Provider, Provider]] | None = None
        self._open_before: list[Provider] = []
        self._stops = 0

    @classmethod
    def found(cls, container: C, applied: Iterable[tuple[Provider, Provider]]) -> Overriding[C]:
        """An overriding that has been entered, of what somebody put on by `Provider.override`; to be left.

        Args:
            container: whose providers are overridden.
            applied: each with what stands in for it, in that order.
        """
        one = cls(container, {})
        one._applied = list(applied)
        one._stops = container._life.stops
        return one

    @property
    def container(self) -> C:
        """Whose providers are overridden."""
        return self._container

    @property
    def ids(self) -> tuple[str, ...]:
        """What is overridden, by its dotted ids; nothing before it is entered and after it is left."""
        known = {provider: id for id, provider in self._container.ids().items()}
        return tuple(known.get(provider) or label(provider) for provider, _ in self._applied or ())

    def puts(self, provider: Provider) -> bool:
        """Whether a provider stands in for another because of this."""
        return any(other is provider for _, other in self._applied or ())

    def __enter__(self) -> C:
        life = self._container._life
        with life.guard.current():
            if self._applied is not None:
                raise StateError("this overriding is entered already; make another one for an inner block")
            relations = life.relations()
            targets = targets_of(self._container, self._replacements, relations)
            refuse_inexact(targets, relations)
            refuse_missing(targets, relations)
            self._apply(targets, relations)
            try:
                failures = self._change_over(relations, [target.provider for target in targets])
            except BaseException:
                self._restore()
                raise
            if failures:
                failures += self._restore()
                raise OverrideError("the override was taken back: what depends on it failed to close or to open") from (
                    failures[0] if len(failures) == 1 else ExceptionGroup("overriding failed", failures)
                )
            life.overridings.append(self)
            _overridden.add(life)
        return self._container

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        life = self._container._life
        with life.guard.current():
            life.overridings = [one for one in life.overridings if one is not self]
            if not life.overridings:
                _overridden.discard(life)
            failures = self._restore()
        if not failures:
            return
        if error is None:
            raise ExceptionGroup("the override was taken back, but rebuilding what depends on it failed", failures)
        for failure in failures:
            error.add_note(f"taking an override back failed too: {type(failure).__name__}")

    def _apply(self, targets: list[Target], relations: Relations) -> None:
        """Puts the stand-ins on, and has the families whose settings change read them again."""
        life = self._container._life
        providers = [target.provider for target in targets]
        self._stops = life.stops
        self._open_before = self._to_reopen(relations, providers)
        self._applied = []
        try:
            for target in targets:
                other = stand_in(target)
                life.claim([other])
                target.provider.override(other)
                self._applied.append((target.provider, other))
        except BaseException:
            self._take_off()
            raise
        for family in relations.fed_by(providers):
            family.forget()

    def _take_off(self) -> None:
        applied, self._applied = self._applied or [], None
        for provider, other in reversed(applied):
            _unstack(provider, other)

    def _to_reopen(self, relations: Relations, targets: list[Provider]) -> list[Provider]:
        # A target that is open stays open behind its stand-in, unless an inner override closes what it needs.
        users = {*relations.dependents(targets), *targets}
        return [relations.lasting(one) for one in self._container._life.open_resources() if one in users]

    def _restore(self) -> list[Exception]:
        targets = [provider for provider, _ in self._applied or []]
        life = self._container._life
        relations = life.relations()
        fed = relations.fed_by(targets)
        self._take_off()
        for family in fed:
            family.forget()
        return self._change_over(relations, targets)

    def _change_over(self, before: Relations, targets: list[Provider]) -> list[Exception]:
        """Closes and drops what depended on the targets, and opens again what has to be open."""
        life = self._container._life
        users = before.dependents(targets)
        after = life.relations()
        leaving = [one for one in life.open_resources() if one in users or one not in after.nodes]
        # What was open when the override began is open when it is over, and a container that is started stays so.
        again = dict.fromkeys(self._open_before if life.stops == self._stops else ())
        if life.started:
            again.update(dict.fromkeys(before.lasting(one) for one in leaving))
        failures: list[Exception] = []
        try:
            failures += life.close(leaving, before)
        finally:
            failures += life.rebuild(users, before) + life.rebuild(after.dependents(targets), after)
            life.release(one for one in before.nodes if one not in after.nodes)
            for provider in targets:
                provider.reset_async_mode()
        return failures + self._reopen(again, after)

    def _reopen(self, resources: Iterable[Provider], relations: Relations) -> list[Exception]:
        failures: list[Exception] = []
        for one in resources:
            try:
                if one.last_overriding is None and _exists(one, relations):
                    self._container._life.open(one)
            except Exception as failure:  # noqa: BLE001 - every one is tried, and all are reported
                failures.append(failure)
        return failures


def _exists(provider: Provider, relations: Relations) -> bool:
    """Whether a resource, or a member that led to one, is still part of the container."""
    if isinstance(provider, Member) and isinstance(provider.family, Named):
        return provider.family.last_overriding is None and provider.key in provider.family.expand()
    return provider in relations.nodes


def _unstack(provider: Provider, other: Provider) -> None:
    """Takes `other` out of the stack of what overrides `provider`, wherever it lies."""
    with di.Provider.overriding_lock:  # type: ignore[attr-defined]
        above: list[Provider] = []
        if not any(one is other for one in provider.overridden):
            return
        while provider.last_overriding is not None and provider.last_overriding is not other:
            above.append(provider.last_overriding)
            provider.reset_last_overriding()
        provider.reset_last_overriding()
        for one in reversed(above):
            provider.override(one)
