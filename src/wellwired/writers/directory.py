"""Which writer serves which target.

Every target has one writer, and two that would claim the same one are refused when they are registered: which of them
would get a write must not depend on an order of registration. Looking up takes no lock.
"""

from __future__ import annotations

import threading

from wellwired.errors import RegistrationError
from wellwired.writers._forks import renew_in_child
from wellwired.writers.admission import named
from wellwired.writers.protocol import Writer

__all__ = ["Directory", "targets_of"]

_REMEMBERED = 1024


class Directory:
    """The writers of a manager; safe to share by threads."""

    def __init__(self) -> None:
        self._writers: dict[str, Writer] = {}
        # Answers of `supports`, which is asked once for a target: no later writer may claim what it has found.
        self._found: dict[str, Writer] = {}
        self._registering = threading.Lock()
        renew_in_child(self)

    def register(self, writer: Writer) -> None:
        """Adds a writer; it serves every write that starts after this returns.

        Args:
            writer: what to add. To add the same object again changes nothing.

        Raises:
            RegistrationError: it is no writer, or a target of its own has a writer already.
        """
        candidate: object = writer
        if not isinstance(candidate, Writer) or not named(candidate.name):
            raise RegistrationError(
                f"{type(writer).__name__} is no writer: it needs a name, supports(), find_handler(), "
                "register_handler() and write()"
            )
        with self._registering:
            for other in self._writers.values():
                if other is not writer:
                    _check_apart(other, writer)
            self._writers = {**self._writers, writer.name: writer}

    def find(self, target: str) -> Writer | None:
        """The writer of a target, or None."""
        found = self._found.get(target)
        if found is not None:
            return found
        for writer in self._writers.values():
            if writer.supports(target):
                if len(self._found) < _REMEMBERED:
                    self._found[target] = writer
                return writer
        return None

    def remembered(self, target: str) -> Writer | None:
        """The writer that `find` found for a target before; asks no writer."""
        return self._found.get(target)

    def named(self, name: str) -> Writer:
        """The writer with that name; raises `KeyError` if there is none."""
        return self._writers[name]

    def writers(self) -> tuple[Writer, ...]:
        """Every writer, in the order of registration."""
        return tuple(self._writers.values())

    def targets(self) -> tuple[str, ...]:
        """Every target that a writer lists, sorted."""
        return tuple(sorted({target for writer in self.writers() for target in targets_of(writer)}))

    def renew(self) -> None:
        """Opens the lock in a forked child, where the thread that held it does not exist."""
        self._registering = threading.Lock()


def targets_of(writer: Writer) -> tuple[str, ...]:
    """The targets that a writer lists, its name first."""
    listed = getattr(writer, "targets", ())
    return tuple(dict.fromkeys((writer.name, *listed)))


def _check_apart(one: Writer, other: Writer) -> None:
    shared = [t for t in targets_of(other) if one.supports(t)] or [t for t in targets_of(one) if other.supports(t)]
    if shared:
        raise RegistrationError(
            f"the target {shared[0]!r} already has a writer, {one.name!r}; "
            f"take it from the targets of {other.name!r} or give that another name"
        )
