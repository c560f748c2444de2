"""The life of a container: opened in dependency order, closed in reverse, rolled back when opening fails.

The order comes from the whole graph, through singletons, factories and families, and where dependencies leave a
choice from the order of declaration: the same container opens in the same order in every process. What was built on
a resource that is closed is forgotten with it, so a container that was stopped can be started again.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di

from wellwired.containers._direct import label
from wellwired.containers._fork import ForkLock, keep_for_ever, survive
from wellwired.containers._journal import Journal
from wellwired.containers._order import closing_order, opening_order, reachable
from wellwired.containers._relations import Relations, declared, effective, families
from wellwired.containers._resource import ALONE, Resource
from wellwired.containers._scope import Scoped, forget_in_scopes
from wellwired.containers._singleton import Singleton
from wellwired.errors import StateError

if TYPE_CHECKING:
    from wellwired.containers._overriding import Overriding
    from wellwired.containers.container import ContainerInstance

__all__ = ["Lifecycle"]

Provider = di.Provider[Any]


class Lifecycle:
    """Opens and closes the resources of one container; the keeper of their journal.

    Args:
        container: whose resources.
    """

    def __init__(self, container: ContainerInstance) -> None:
        self._container = container
        self.guard = ForkLock()
        self.journal = Journal()
        self.started = False
        self.stops = 0
        self.overridings: list[Overriding[Any]] = []
        survive(self)

    def opened(self, resource: Resource[Any]) -> None:
        """Writes an opening into the journal; called by the resource."""
        self.journal.add(resource)

    def closed(self, resource: Resource[Any]) -> None:
        """Strikes it out; called by the resource."""
        self.journal.remove(resource)

    def claim(self, providers: Iterable[Provider]) -> None:
        """Makes this the keeper of every resource that `providers` refer to and no other container owns."""
        found = reachable(providers, declared)
        for one in found:
            if isinstance(one, Resource) and one.keeper is ALONE:
                one.keeper = self
        for family in families(found):
            family.adopt = family.adopt or self._adopt

    def _adopt(self, provider: Provider) -> None:
        self.claim([provider])

    def release(self, resources: Iterable[Provider]) -> None:
        """Gives back what was claimed for as long as it stood in for something."""
        for one in resources:
            if isinstance(one, Resource) and one.keeper is self:
                one.keeper = ALONE

    def relations(self) -> Relations:
        """The dependencies as they stand."""
        return Relations(self._container.roots())

    def to_open(self) -> list[Provider]:
        """The resources that `start()` opens, in order: all that no override has put out of use."""
        relations = self.relations()
        ordered = opening_order(relations.roots, effective)
        return [one for one in ordered if isinstance(one, di.Resource) and one.last_overriding is None]

    def start(self) -> None:
        """Checks the container and opens its resources; what a failure leaves open is closed again."""
        with self.guard.current():
            if self.started:
                return
            self.claim(self._container.roots())
            self._container.check()
            before = self.open_resources()
            try:
                for resource in self.to_open():
                    self.open(resource)
            except BaseException as error:
                self._roll_back(before, error)
                raise
            self.started = True

    def stop(self) -> None:
        """Closes what is open, the last opened first, and forgets what was built on it."""
        with self.guard.current():
            self.started = False
            self.stops += 1
            failures = self.close(self.open_resources())
        if failures:
            raise ExceptionGroup(f"stopping {self._container.title} failed in part", failures)

    def shut(self, resource: Resource[Any]) -> None:
        """Closes one resource after all open ones that need it."""
        with self.guard.current():
            users = self.relations().dependents([resource])
            failures = self.close([one for one in self.open_resources() if one is resource or one in users])
        if failures:
            raise ExceptionGroup(f"closing {label(resource)} failed in part", failures)

    def open(self, resource: Provider) -> None:
        """Opens one resource, of ours of dependency-injector's own kind, or the member of a family."""
        opened: Any = resource()
        if isinstance(resource, Resource) or not isinstance(resource, di.Resource):
            return
        if inspect.isawaitable(opened) and resource.is_async_mode_enabled():
            raise StateError(f"{label(resource)} is opened by asynchronous code; start() is synchronous")
        self.journal.add(resource)

    def open_resources(self) -> list[Provider]:
        """The resources that are open, in the order of opening; foreign ones opened behind our back come last."""
        known = [one for one in self.journal.entries() if one.initialized]
        others = reachable(self._container.roots(), declared)
        return known + [one for one in others if self._unlisted(one) and one not in known]

    def _unlisted(self, provider: Provider) -> bool:
        """Whether it is an open resource that may be missing in the journal, and no other container's."""
        if isinstance(provider, Resource):
            return provider.initialized and (provider.keeper is self or provider.keeper is ALONE)
        return isinstance(provider, di.Resource) and provider.initialized

    def close(self, resources: Iterable[Provider], relations: Relations | None = None) -> list[Exception]:
        """Closes `resources`, users first, and forgets what was built on them.

        Args:
            resources: what to close, in the order of opening.
            relations: the dependencies at the time of opening, if they have changed since.

        Returns:
            What the closings raised, each with a note that names its resource; every one was tried.
        """
        chosen = list(resources)
        relations = relations or self.relations()
        failures: list[Exception] = []
        try:
            for resource in closing_order(chosen, relations.nodes, relations.needs):
                failures += self._closed(resource)
        finally:
            failures += self.rebuild(relations.dependents(chosen), relations)
        return failures

    def rebuild(self, users: Iterable[Provider], relations: Relations) -> list[Exception]:
        """Has everything that `users` hold built anew at its next use.

        Each comes after what it needs, and each waits for a construction under way: so no thread can put together in
        the meantime what is half old and half new. Resources among them have been closed in order before; what is
        closed here was opened again by another thread since.

        Args:
            users: what depends on something that is changing or gone.
            relations: the dependencies among them.

        Returns:
            What closings raised.
        """
        chosen = dict.fromkeys(users)
        failures: list[Exception] = []
        for one in opening_order(chosen, relations.needs):
            if one not in chosen:
                continue
            one.reset_async_mode()
            if isinstance(one, di.BaseSingleton):
                one.reset()
            elif isinstance(one, Scoped):
                forget_in_scopes(one)
            elif isinstance(one, Resource):
                failures += self._closed(one)
        return failures

    def _closed(self, resource: Any) -> list[Exception]:
        try:
            if isinstance(resource, Resource):
                resource.close()
            else:
                self.journal.remove(resource)
                resource.shutdown()
        except Exception as failure:  # noqa: BLE001 - every one is tried, and all are reported
            failure.add_note(f"while closing {label(resource)}")
            return [failure]
        return []

    def _roll_back(self, before: list[Provider], error: BaseException) -> None:
        for failure in self.close([one for one in self.open_resources() if one not in before]):
            error.add_note(f"rolling back failed too, {''.join(failure.__notes__)}: {type(failure).__name__}")

    def after_fork(self) -> None:
        """In a forked child: renews what can be renewed in place, and forgets the rest without touching it."""
        self.journal.renew()
        self.started = False
        # Not only what the journal has: a thread of the parent may have been about to write into it.
        inherited = self.open_resources()
        if not inherited:
            return
        relations = self.relations()
        # What cannot be renewed goes first, with all that stands on it: no renewal may meet a lost dependency.
        self._forget([one for one in inherited if not (isinstance(one, Resource) and one.renewer)], relations)
        for resource in inherited:
            if isinstance(resource, Resource) and resource.initialized and not resource.adopt():
                self._forget([resource], relations)

    def _forget(self, lost: list[Provider], relations: Relations) -> None:
        doomed: dict[Provider, None] = {**dict.fromkeys(lost), **relations.dependents(lost)}
        for one in doomed:
            if isinstance(one, di.Resource):
                _abandon(one)
                self.journal.remove(one)
            elif isinstance(one, Singleton):
                one.keep()
        self.rebuild(doomed, relations)


def _abandon(resource: di.Resource[Any]) -> None:
    """Has a forked child forget what it inherited, without ending or finalising it."""
    if isinstance(resource, Resource):
        resource.forget()
    else:
        # The ending of a foreign one is out of reach inside its compiled state; so the state itself is kept.
        keep_for_ever(gc.get_referents(resource))
        resource.reset_state()  # type: ignore[attr-defined]
