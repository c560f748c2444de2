"""What clients are told of what failed, as one middleware around all views."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from wellwired import ErrorCode, NotFound, WriteError
from wellwired.errors import Retry, StoreError

__all__ = ["told"]

_REFUSALS = {"out_of_stock": 409, "no_such_product": 404}


def told(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Turns errors of writes and stores into answers."""

    def serve(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    serve.process_exception = _answer  # type: ignore[attr-defined]
    return serve


def _answer(_request: HttpRequest, error: Exception) -> HttpResponse | None:
    if isinstance(error, WriteError):
        return _of_write(error)
    if isinstance(error, NotFound):
        return JsonResponse({"error": "NOT_FOUND"}, status=404)
    if isinstance(error, StoreError):  # neither a copy nor the database could answer
        return JsonResponse({"error": "UNAVAILABLE"}, status=503, headers={"Retry-After": "1"})
    return None


def _of_write(error: WriteError) -> HttpResponse:
    """What became of a write that failed. `outcome` is what the client really needs: NOT_APPLIED or UNKNOWN."""
    told = {"error": error.code, "outcome": error.outcome, "reason": error.reason}
    if error.code is ErrorCode.INVALID_REQUEST:
        return JsonResponse(told, status=_REFUSALS.get(error.reason, 422))
    if error.retry is Retry.NEVER:
        return JsonResponse(told, status=500)
    return JsonResponse(told, status=503, headers={"Retry-After": "1"})
