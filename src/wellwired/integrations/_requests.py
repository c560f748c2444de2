"""A request while it lasts: its container, its scope, and how it went.

Whatever the framework, the scope has to be entered again for each piece of a streamed body, since the context
variables of the request are gone by then; it ends once, and with the first error that somebody heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from wellwired.containers import Scope, scope
from wellwired.containers._during import During
from wellwired.containers._serving import served_by
from wellwired.containers.container import ContainerInstance

__all__ = ["Pieces", "ScopedRequest"]

T = TypeVar("T")


class ScopedRequest:
    """What a request has while it lasts. Safe from many threads, as its scope is.

    Args:
        container: what serves it; started.
    """

    def __init__(self, container: ContainerInstance) -> None:
        self.container = container
        self.scope: Scope = scope()
        self.complete = False
        self._error: BaseException | None = None

    def active(self) -> _Active:
        """Makes its container and its scope the ones that count inside a block, in this thread or task."""
        return _Active(served_by(self.container), self.scope.entered())

    def failed(self, error: BaseException) -> None:
        """Has the scope end with an error, so that its objects roll back; the first one counts."""
        self._error = self._error or error

    def close(self) -> None:
        """Ends the scope; again does nothing."""
        self.scope.close(self._error)


class _Active:
    """Two blocks in one; what `contextmanager` would do, at a fifth of its cost."""

    __slots__ = ("_scope", "_serving")

    def __init__(self, serving: During[ContainerInstance], scope: During[Scope]) -> None:
        self._serving = serving
        self._scope = scope

    def __enter__(self) -> None:
        self._serving.__enter__()
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        self._serving.__exit__(kind, error, trace)


class Pieces(Generic[T]):
    """A streamed body, every piece of which is made inside the request's scope.

    Args:
        body: what makes the pieces.
        request: whose scope.
    """

    def __init__(self, body: Iterable[T], request: ScopedRequest) -> None:
        self._body = body
        self._pieces: Iterator[T] | None = None
        self._request = request

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        request = self._request
        try:
            with request.active():
                if self._pieces is None:
                    self._pieces = iter(self._body)
                return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as error:
            request.failed(error)
            raise
