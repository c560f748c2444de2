"""The scope of a request under WSGI: from the call to the close of the response's body.

It stands around the whole application, because a framework's own hooks do not: their context variables are gone while a
streamed body is made, and what they call the end of a request comes before it. The scope is active in the
application, and again for each piece of the body; it ends when the server closes the body, which it does after the
last piece and also when the client has gone. Where the framework says that the body is complete, the scope ends before
it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wellwired.containers.container import ContainerInstance
from wellwired.integrations._requests import Pieces, ScopedRequest

__all__ = ["SCOPE", "ScopedRequests"]

SCOPE = "wellwired.scope"
"""Where the request's scope is in the environment that WSGI hands on."""

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ScopedRequests:
    """A WSGI application around another one, in which every request has a scope and a started container.

    Args:
        application: the one inside.
        start: gives the container, started; called for every request.
    """

    def __init__(self, application: WSGIApplication, start: Callable[[], ContainerInstance]) -> None:
        self._application = application
        self._start = start

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves one request."""
        request = ScopedRequest(self._start())
        environ[SCOPE] = request
        try:
            with request.active():
                body = self._application(environ, start_response)
        except BaseException as error:
            request.failed(error)
            request.close()
            raise
        file_wrapper = environ.get("wsgi.file_wrapper")
        if request.complete or (isinstance(file_wrapper, type) and isinstance(body, file_wrapper)):
            # A file is sent by the server itself, if its wrapper is left as it is.
            request.close()
            return body
        return _Body(body, request)


class _Body(Pieces[bytes]):
    """A response's body, made inside the request's scope."""

    def close(self) -> None:
        """Called by the server at the end of the request, however that came."""
        request = self._request
        try:
            close = getattr(self._body, "close", None)
            if close is not None and not request.scope.closed:
                with request.active():
                    close()
        except BaseException as error:
            request.failed(error)
            raise
        finally:
            request.close()
