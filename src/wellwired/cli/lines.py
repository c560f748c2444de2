"""The lines that `wellwired load` reads, and the rejects that it writes: plain values, no files.

A line is one JSON object with the arguments of a `WriteRequest`. A reject wraps the line that it rejects together
with the reason, and is itself a line that `load` accepts: what was rejected can be mended and loaded again.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from wellwired.errors import WriteError
from wellwired.operations import WriteRequest

__all__ = ["Line", "Reject", "parse", "parse_all", "reject_line", "with_key"]

_FIELDS = ("target", "type", "payload", "meta", "timeout", "idempotency_key")
_REQUIRED = ("target", "type", "payload")
_decode = msgspec.json.decode
_canonical = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a line did not end in a write that took effect.

    Args:
        code: an `ErrorCode`, or MALFORMED for a line that is no request.
        outcome: what became of the data.
        reason: one line for people, without payload.
    """

    code: str
    outcome: str
    reason: str

    @classmethod
    def of(cls, error: WriteError) -> Reject:
        """The reject that a write's error stands for."""
        return cls(error.code.value, error.outcome.value, error.message)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: a request, or the reason why it is none.

    Args:
        number: its number in the file, from 1.
        raw: its bytes as read, without the line end.
        request: the request, if it is one.
        reject: why not, otherwise.
        digest: stands for what the request writes, whatever its spelling.
        occurrence: how many lines that write the same came before it in the file.
    """

    number: int
    raw: bytes = field(repr=False)
    request: WriteRequest | None = None
    reject: Reject | None = None
    digest: bytes = b""
    occurrence: int = 0


def _malformed(reason: str) -> Reject:
    return Reject("MALFORMED", "NOT_APPLIED", reason)


def _unwrapped(document: dict[str, Any]) -> dict[str, Any]:
    inner = document.get("request")
    return inner if isinstance(inner, dict) and "target" not in document else document


def _faults(document: dict[str, Any]) -> Iterator[str]:
    for name in _REQUIRED:
        if name not in document:
            yield f"{name} is missing"
    for name in document:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, 1)
            yield f"unknown field {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def parse(number: int, raw: bytes) -> Line:
    """Reads one line; never raises for what is in it.

    Args:
        number: its number in the file, from 1.
        raw: its bytes, with or without the line end.

    Returns:
        The line with its request, or with the reject that says what is wrong with it.
    """
    raw = raw.rstrip(b"\r\n")
    try:
        document = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Line(number, raw, reject=_malformed(f"not JSON: {error}"))
    if not isinstance(document, dict):
        return Line(number, raw, reject=_malformed("not a JSON object"))
    document = _unwrapped(document)
    if faults := list(_faults(document)):
        return Line(number, raw, reject=_malformed("; ".join(faults)))
    content = _canonical.encode([document["target"], document["type"], document["payload"]])
    # A digest, not the content: a file of ten million lines must not be kept in memory.
    return Line(number, raw, WriteRequest(**document), digest=hashlib.sha256(content).digest()[:16])


def parse_all(lines: Iterable[bytes]) -> Iterator[Line]:
    """Reads lines one by one, counting equal ones; blank lines are passed over.

    Equal lines are told apart by their count, so that a file which asks for the same increment twice gets it twice,
    and still only twice when the file is loaded again.
    """
    seen: Counter[bytes] = Counter()
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        line = parse(number, raw)
        if line.request is not None:
            line = replace(line, occurrence=seen[line.digest])
            seen[line.digest] += 1
        yield line


def with_key(line: Line, batch: str) -> WriteRequest:
    """The line's request with an idempotency key: its own, or one made of the batch's name, its content and count.

    Args:
        line: a line that has a request.
        batch: what tells this load from another one with equal lines, such as the file's name.
    """
    request = line.request
    assert request is not None
    if request.idempotency_key is not None:
        return request
    name = hashlib.sha256(batch.encode()).hexdigest()[:12]
    return replace(request, idempotency_key=f"load:{name}:{line.digest.hex()}:{line.occurrence}")


def reject_line(line: Line, reject: Reject, request: WriteRequest | None = None) -> bytes:
    """The reject as a line of JSON, ready to be appended to a file and to be loaded again.

    Args:
        line: the line that is rejected.
        reject: why.
        request: the request as it was sent, if it was: its key must be kept, or a second load could apply it twice.
    """
    document: dict[str, Any] = {
        "line": line.number,
        "code": reject.code,
        "outcome": reject.outcome,
        "reason": reject.reason,
    }
    request = request or line.request
    if request is None:
        document["raw"] = line.raw.decode("utf-8", "backslashreplace")
    else:
        values = {name: getattr(request, name) for name in _FIELDS}
        document["request"] = {k: v for k, v in values.items() if v is not None and v != {}} | {
            "payload": request.payload
        }
    return msgspec.json.encode(document) + b"\n"
