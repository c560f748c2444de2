"""The lines of a load: what is a request, what is not and why, and which key a line gets."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.cli.lines import Line, Reject, parse, parse_all, reject_line, with_key
from wellwired.errors import BackendError, Outcome
from wellwired.operations import WriteRequest

GOOD = {"target": "sql.main", "type": "add", "payload": {"id": 1}}
SECRET = "hunter2"


def _raw(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def _keys(*raws: bytes, batch: str = "day-1") -> list[str | None]:
    return [with_key(line, batch).idempotency_key for line in parse_all(raws)]


def test_a_line_is_the_arguments_of_a_write_request() -> None:
    """Every argument of a request can stand in a line, and means what it means there."""
    line = parse(3, _raw(meta={"trace_id": "t"}, timeout=2.5, idempotency_key="k") + b"\r\n")
    assert line.request == WriteRequest("sql.main", "add", {"id": 1}, {"trace_id": "t"}, 2.5, "k")
    assert (line.number, line.reject) == (3, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"target": "sql.main"', "not JSON"),
        (b'\xff{"target"', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"target": "t", "type": "x"}', "payload is missing"),
        (_raw(metta={}), "unknown field 'metta' (did you mean 'meta'?)"),
        (_raw(zzz=1), "unknown field 'zzz'"),
    ],
)
def test_what_is_no_request_is_a_reject_with_a_reason(raw: bytes, reason: str) -> None:
    """A line that is no request never raises: it says what is wrong with it."""
    line = parse(1, raw)
    assert line.request is None
    assert line.reject is not None
    assert line.reject.code == "MALFORMED"
    assert line.reject.outcome == Outcome.NOT_APPLIED
    assert reason in line.reject.reason


def test_every_fault_of_a_line_is_named_at_once() -> None:
    """A line with three faults says all three, so that it is mended once."""
    line = parse(1, b'{"typ": "x", "payload": {}}')
    assert line.reject is not None
    assert line.reject.reason == "target is missing; type is missing; unknown field 'typ' (did you mean 'type'?)"


@pytest.mark.parametrize("raw", [b'{"payload": "hunter2', b'{"hunter2-not-a-field": 1, "payload": "hunter2"'])
def test_a_reason_shows_no_value(raw: bytes) -> None:
    """What a malformed line holds is not repeated in the reason, which is printed and logged."""
    line = parse(1, raw)
    assert line.reject is not None
    assert SECRET not in line.reject.reason
    assert SECRET not in repr(line)


def test_blank_lines_are_passed_over_and_still_counted() -> None:
    """A number is the line's number in the file, blank ones included."""
    assert [line.number for line in parse_all([b"\n", _raw(), b"  \n", _raw(type="b")])] == [2, 4]


def test_the_same_file_gives_the_same_keys_again() -> None:
    """Loading a file twice sends equal keys, so that the second load applies nothing."""
    raws = [_raw(), _raw(type="b"), _raw()]
    assert _keys(*raws) == _keys(*raws)


def test_equal_lines_of_one_file_are_told_apart() -> None:
    """A file that asks for the same write twice means it twice, however the second one is spelt."""
    spelt = b'{"payload": {"id": 1}, "type": "add",   "target": "sql.main"}'
    assert len(set(_keys(_raw(), _raw(), spelt))) == 3


def test_another_batch_has_other_keys() -> None:
    """Equal lines of another day's file are other writes."""
    assert not set(_keys(_raw(), batch="day-1")) & set(_keys(_raw(), batch="day-2"))


def test_a_key_of_the_lines_own_is_kept() -> None:
    """The sender's key wins over the one that would be made."""
    assert _keys(_raw(idempotency_key="mine")) == ["mine"]


def test_meta_and_timeout_do_not_change_the_key() -> None:
    """What is about a request and not written does not make it another write."""
    assert _keys(_raw(meta={"trace_id": "a"})) == _keys(_raw(meta={"trace_id": "b"}, timeout=9))


def test_a_key_fits_its_limit() -> None:
    """A key that is made is within the 128 characters that a manager takes, whatever the batch's name."""
    (key,) = _keys(_raw(), batch="x" * 5000)
    assert key is not None
    assert len(key) <= 128


def test_a_reject_can_be_loaded_again_with_the_key_it_was_sent_with() -> None:
    """A line of a rejects file is a line of a load, and goes out under the same key from any file."""
    (line,) = parse_all([_raw(meta={"trace_id": "t"})])
    sent = with_key(line, "day-1")
    error = BackendError("lost", outcome=Outcome.UNKNOWN)
    (again,) = parse_all([reject_line(line, Reject.of(error), sent)])
    assert again.request == sent
    assert with_key(again, "rejects-1.jsonl") == sent


def test_a_reject_of_no_request_keeps_what_was_read() -> None:
    """What could not be read is in the rejects file as it was, so that nothing is lost."""
    line = parse(7, b'{"target": "caf\xc3\xa9')
    assert line.reject is not None
    document = msgspec.json.decode(reject_line(line, line.reject))
    assert document["line"] == 7
    assert document["raw"] == '{"target": "café'


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    """Any bytes are either a request or a reject, never an exception and never both."""
    line = parse(1, raw)
    assert (line.request is None) != (line.reject is None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.dictionaries(st.text(max_size=5), _JSON, max_size=3))
def test_any_request_survives_being_rejected(payload: object, meta: dict[str, object]) -> None:
    """Whatever a request holds, its reject gives the same request back."""
    (line,) = parse_all([_raw(payload=payload, meta=meta)])
    assert line.request is not None
    (again,) = parse_all([reject_line(line, Reject("BACKEND", "UNKNOWN", "lost"))])
    assert again.request == line.request
    assert again.digest == line.digest


def test_a_line_shows_no_payload() -> None:
    """The repr of a line, as a traceback would print it, has nothing of its payload."""
    assert SECRET not in repr(parse(1, _raw(payload={"password": SECRET})))
    assert isinstance(parse(1, _raw()), Line)
