"""Envelopes: what was sealed opens under its own key, and nothing else ever does."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wellwired.stores.codecs import Codec, JSONCodec, MsgpackCodec
from wellwired.stores.damage import Reason
from wellwired.stores.envelope import VERSION, Envelopes, Unreadable

GOLDEN = sorted((Path(__file__).parent / "golden").glob("envelope_v*.json"))
CODECS: dict[str, Codec] = {"msgpack": MsgpackCodec(), "json": JSONCodec()}
ENVELOPES = Envelopes(MsgpackCodec())
KEY = b"users:user:1"
VALUE = {"id": 1, "tags": ["a", ""], "none": None}
SEALED = ENVELOPES.seal(KEY, VALUE, duration=60_000, expires=1_700_000_060_000)

KEYS = st.binary(min_size=1, max_size=30)


def reason_of(envelope: bytes, bound: bytes = KEY, envelopes: Envelopes = ENVELOPES) -> Reason:
    """Why the envelope is not opened."""
    with pytest.raises(Unreadable) as caught:
        envelopes.open(bound, envelope)
    return caught.value.reason


def checked(envelope: bytes) -> bytes:
    """The envelope with a checksum that fits, as one who forges it would make it."""
    return envelope[:16] + zlib.crc32(envelope[20:]).to_bytes(4, "big") + envelope[20:]


class Broken:
    """A codec of somebody else's, which raises what it likes."""

    id = "broken"

    def encode(self, value: Any) -> bytes:
        """The text of the value."""
        return repr(value).encode()

    def decode(self, data: bytes) -> Any:
        """Raises what is no ValueError."""
        raise AssertionError(data)


@given(
    bound=KEYS,
    value=st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=5)
    | st.lists(st.integers(0, 3), max_size=3),
    duration=st.none() | st.integers(0, 2**60),
    expires=st.none() | st.integers(0, 2**60),
)
def test_what_was_sealed_opens(bound: bytes, value: Any, duration: int | None, expires: int | None) -> None:
    """Value, duration and expiry come back, None and zero told apart."""
    sealed = ENVELOPES.seal(bound, value, duration=duration, expires=expires)
    assert ENVELOPES.open(bound, sealed) == (value, duration, expires)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_envelopes_of_every_released_version_open(path: Path) -> None:
    """What an earlier version has written is read by this one."""
    cases = json.loads(path.read_text())
    assert len(cases) >= 6
    for case in cases:
        opened = Envelopes(CODECS[case["codec"]]).open(case["bound"].encode(), bytes.fromhex(case["envelope"]))
        assert opened == (case["value"], case["duration"], case["expires"]), case["name"]


def test_this_version_writes_what_its_golden_file_holds() -> None:
    """A change of the format needs a new version and a new file."""
    assert [path.stem for path in GOLDEN][-1] == f"envelope_v{VERSION}"
    for case in json.loads(GOLDEN[-1].read_text()):
        facts = {"duration": case["duration"], "expires": case["expires"]}
        sealed = Envelopes(CODECS[case["codec"]]).seal(case["bound"].encode(), case["value"], **facts)
        assert sealed.hex() == case["envelope"], case["name"]


@given(bound=KEYS, other=KEYS)
def test_a_value_under_another_key_is_not_taken_for_its_own(bound: bytes, other: bytes) -> None:
    """An envelope copied to another key or namespace does not open there, not even if one key begins as the other."""
    assume(bound != other)
    assert reason_of(ENVELOPES.seal(bound, VALUE), other) is Reason.KEY


@pytest.mark.parametrize("other", [b"users:user:", b"users:user:12", b"users2:user:1", b"u"])
def test_keys_that_are_nearly_the_same_are_others(other: bytes) -> None:
    """The whole key is compared, and its length."""
    assert reason_of(SEALED, other) is Reason.KEY


@pytest.mark.parametrize("cut", range(len(SEALED)))
def test_every_truncation_is_noticed(cut: int) -> None:
    """Whatever is missing at the end, the rest is not served."""
    assert reason_of(SEALED[:cut]) in {Reason.TRUNCATED, Reason.CHECKSUM}


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", range(len(SEALED)))
def test_every_flipped_bit_is_noticed(at: int, bit: int) -> None:
    """No single damaged bit yields a value, a longer life or another exception."""
    damaged = bytearray(SEALED)
    damaged[at] ^= 1 << bit
    reason_of(bytes(damaged))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_miss(noise: bytes) -> None:
    """Bytes that nobody sealed are refused, by one kind of error only."""
    assert reason_of(noise) in {Reason.FOREIGN, Reason.TRUNCATED}


@given(st.binary(max_size=60))
def test_any_payload_behind_a_true_head_is_a_value_or_a_miss(payload: bytes) -> None:
    """Even with a checksum that fits, bytes that the codec cannot read are a miss and never an exception."""
    forged = checked(SEALED[: len(SEALED) - len(MsgpackCodec().encode(VALUE))] + payload)
    with suppress(Unreadable):
        ENVELOPES.open(KEY, forged)


@pytest.mark.parametrize(
    ("foreign", "reason"),
    [
        (b"", Reason.TRUNCATED),
        (b"plain text", Reason.FOREIGN),
        (pickle.dumps(VALUE), Reason.FOREIGN),
        (json.dumps(VALUE).encode() * 5, Reason.FOREIGN),
        (MsgpackCodec().encode(VALUE) * 5, Reason.FOREIGN),
        (b"\x00" * 100, Reason.FOREIGN),
        (b"\xff" * 100, Reason.FOREIGN),
        (b"1", Reason.FOREIGN),
        (b"!\x01" + b"dogpile" * 10, Reason.FOREIGN),
    ],
)
def test_what_other_programs_write_is_foreign(foreign: bytes, reason: Reason) -> None:
    """Text, pickles, JSON, plain MessagePack, counters and other libraries' values are recognised as not ours."""
    assert reason_of(foreign) is reason


def test_a_version_that_is_not_known_yet_is_named() -> None:
    """A newer program's value is a miss for an older one, and the reason says so."""
    newer = SEALED[:3] + bytes((VERSION + 1,)) + SEALED[4:]
    assert reason_of(newer) is Reason.VERSION
    flags = bytearray(SEALED)
    flags[20] |= 4
    assert reason_of(checked(bytes(flags))) is Reason.VERSION


def test_another_codecs_value_is_not_decoded() -> None:
    """Bytes are only handed to the codec by whose name they were written."""
    assert reason_of(SEALED, KEY, Envelopes(JSONCodec())) is Reason.CODEC


def test_a_value_of_another_type_is_a_miss() -> None:
    """After the type has changed, values of the old one are not served."""
    assert reason_of(ENVELOPES.seal(KEY, "text"), KEY, Envelopes(MsgpackCodec(int))) is Reason.VALUE


def test_a_codec_may_raise_anything() -> None:
    """A codec of somebody else's does not get an exception out of the stores."""
    envelopes = Envelopes(Broken())
    assert reason_of(envelopes.seal(KEY, 1), KEY, envelopes) is Reason.VALUE


@pytest.mark.parametrize("name", ["", "thirteenchars"])
def test_a_codecs_name_has_to_fit(name: str) -> None:
    """A name that the envelope has no room for is refused when the store is made."""
    codec = Broken()
    codec.id = name
    with pytest.raises(ValueError, match="1 to 12 ASCII"):
        Envelopes(codec)


def test_the_layout_is_as_told() -> None:
    """The module's drawing is true, byte by byte."""
    start, codec, crc, flags, length, duration, expires = struct.unpack_from(">4s12sIBHQQ", SEALED)
    assert (start, codec.rstrip(b"\0"), flags) == (b"\xc1WW\x01", b"msgpack", 3)
    assert (length, duration, expires) == (len(KEY), 60_000, 1_700_000_060_000)
    assert crc == zlib.crc32(SEALED[20:]) and SEALED[39 : 39 + length] == KEY
    assert SEALED[39 + length :] == MsgpackCodec().encode(VALUE)
