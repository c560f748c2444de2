"""Whether a container's pools work: a ping for each, all at once, within one time limit.

Liveness and readiness are two questions. *Is the process alive?* is answered without asking anybody: a database that
is down is no reason to kill a worker. *Can it serve?* pings every resource that was declared with `pinged_by()`. An
answer holds names, states, latencies and names of exception classes, and never a message, for drivers put addresses and
passwords into theirs; it can be shown to anyone.

A ping that hangs cannot be ended from outside. It is left behind in a daemon thread, and as long as it hangs no
second one is sent to the same resource, so that a probe every few seconds does not pile up threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dependency_injector import providers as di

from wellwired.clock import SYSTEM, Clock
from wellwired.containers._pings import Ping, send
from wellwired.containers._resource import Resource
from wellwired.containers._survey import Provider, Survey, standing_for, target_of

__all__ = ["Health", "HealthCheck", "HealthStatus", "health_of", "summarised"]


class HealthStatus(StrEnum):
    """How well something works; of a single check also that it could not be asked."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What is known of one resource.

    Args:
        name: its dotted id.
        status: UP, DOWN or UNCHECKED.
        latency: seconds that the ping took, or has been hanging for; None if none was sent.
        error: the name of the exception's class, or a word: "timed out", "still hanging", "not open", "overridden".
    """

    name: str
    status: HealthStatus
    latency: float | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The check for JSON, without its name and without what is empty."""
        latency = {} if self.latency is None else {"latency": round(self.latency, 6)}
        return {"status": str(self.status), **latency, **({"error": self.error} if self.error else {})}


@dataclass(frozen=True, slots=True)
class Health:
    """The answer for the whole container.

    Args:
        status: UP; DEGRADED if only optional resources fail; DOWN if any other fails.
        checks: one for each resource with a ping, in the order of declaration; none for liveness.
    """

    status: HealthStatus
    checks: tuple[HealthCheck, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the process should get requests: anything but DOWN."""
        return self.status is not HealthStatus.DOWN

    def to_dict(self) -> dict[str, Any]:
        """The answer for JSON."""
        return {"status": str(self.status), "checks": {check.name: check.to_dict() for check in self.checks}}

    def __str__(self) -> str:
        lines = [str(self.status)]
        for check in self.checks:
            took = "" if check.latency is None else f" {check.latency * 1000:.1f} ms"
            lines.append(f"  {check.name}: {check.status}{took}{f' ({check.error})' if check.error else ''}")
        return "\n".join(lines)


def summarised(checks: Iterable[HealthCheck], optional: Collection[str] = ()) -> Health:
    """Weighs the checks.

    Args:
        checks: one for each resource.
        optional: ids whose failure only degrades; ``redis`` stands for the whole family.

    Returns:
        The answer for the whole container.
    """
    checks = tuple(checks)
    failed = [check.name for check in checks if check.status is HealthStatus.DOWN]
    spared = [n for n in failed if any(n == o or n.startswith(f"{o}.") for o in optional)]
    if len(failed) > len(spared):
        return Health(HealthStatus.DOWN, checks)
    return Health(HealthStatus.DEGRADED if failed else HealthStatus.UP, checks)


def health_of(
    container: Any,
    *,
    timeout: float = 2.0,
    liveness: bool = False,
    optional: Collection[str] = (),
    clock: Clock = SYSTEM,
) -> Health:
    """Asks every resource that has a ping; opens nothing. Safe from many threads, who share the pings under way.

    Args:
        container: whose resources to ask.
        timeout: seconds for all pings together; a resource's own limit counts if it is shorter.
        liveness: answer only that the process is alive, without asking anybody.
        optional: ids whose failure degrades instead of bringing down; ``redis`` stands for the whole family.
        clock: for latencies.

    Returns:
        The answer; a resource that is not open is DOWN, one whose replacement cannot be pinged UNCHECKED.
    """
    if liveness:
        return Health(HealthStatus.UP)
    asked = [(name, _ask(*pair, timeout, clock)) for name, pair in _pinged(Survey(container)).items()]
    return summarised((_check(name, question) for name, question in asked), optional)


@dataclass(frozen=True, slots=True)
class _Question:
    """A resource's ping and until when to wait for it, or why none was sent."""

    ping: Ping | None = None
    sent_now: bool = True
    until: float = 0.0
    replaced: bool = False
    reason: str = ""


def _pinged(survey: Survey) -> dict[str, tuple[Resource[Any], Provider]]:
    """The resources that have a ping, each with what stands in for it; named ones, then those inside others."""
    found: dict[str, tuple[Resource[Any], Provider]] = {}
    seen: set[Provider | None] = set()
    for provider in survey:
        resource, acting = target_of(provider), standing_for(provider)
        if isinstance(resource, Resource) and resource.pinger and resource not in seen:
            found[survey.label(provider)] = (resource, acting)
            seen |= {resource, acting}
    return found


def _ask(resource: Resource[Any], acting: Provider, timeout: float, clock: Clock) -> _Question:
    replaced = acting is not resource
    if isinstance(acting, Resource) and acting.pinger:
        resource, value, replaced = acting, acting.value, False
        if not acting.initialized:
            return _Question(reason="not open")
    elif isinstance(acting, di.Object):
        value = acting.provides
    else:
        return _Question(replaced=True, reason="overridden")
    assert resource.pinger is not None
    until = clock.monotonic() + min(timeout, resource.ping_timeout)
    return _Question(*send(resource, resource.pinger, value, clock), until, replaced)


def _check(name: str, question: _Question) -> HealthCheck:
    unfit = HealthStatus.UNCHECKED if question.replaced else HealthStatus.DOWN
    ping = question.ping
    if ping is None:
        return HealthCheck(name, unfit, error=question.reason)
    outcome = ping.outcome(question.until)
    if outcome is None:
        error = "timed out" if question.sent_now else "still hanging"
        return HealthCheck(name, HealthStatus.DOWN, ping.clock.monotonic() - ping.started, error)
    if outcome.raised is None:
        return HealthCheck(name, HealthStatus.UP, outcome.latency)
    # The ping was written for the real thing: that it does not fit a fake says nothing about either.
    status = unfit if issubclass(outcome.raised, (AttributeError, TypeError)) else HealthStatus.DOWN
    return HealthCheck(name, status, outcome.latency, outcome.raised.__name__)
