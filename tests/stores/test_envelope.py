"""Envelopes: what was sealed opens under its own key, and nothing else ever does."""

from __future__ import annotations

import json
import pickle
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from wellwired.stores.codecs import Codec, JSONCodec, MsgpackCodec
from wellwired.stores.compression import Zstd
from wellwired.stores.damage import Reason
from wellwired.stores.envelope import EPOCH_AT, NO_WORD, VERSION, Envelopes, Opened, Unreadable
from wellwired.stores.pickling import SignedPickleCodec
from wellwired.stores.signing import Signer

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
    assert ENVELOPES.open(bound, sealed) == Opened(value, duration, expires)


def envelopes_of(case: dict[str, Any]) -> Envelopes:
    """What a case of a golden file is sealed and opened by."""
    signer = Signer("a key for the golden files") if case.get("signed") else None
    return Envelopes(CODECS[case["codec"]], compression=Zstd(above=64) if case.get("packed") else None, signer=signer)


def facts_of(case: dict[str, Any]) -> dict[str, Any]:
    """What a case of a golden file notes about its value."""
    facts = {"duration": case["duration"], "expires": case["expires"], "stale": case.get("stale", 0)}
    tags = tuple((tag, bytes.fromhex(word)) for tag, word in case.get("tags", ()))
    return facts | {"epoch": bytes.fromhex(case.get("epoch", NO_WORD.hex())), "tags": tags}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_envelopes_of_every_released_version_open(path: Path) -> None:
    """What an earlier version has written is read by this one."""
    cases = json.loads(path.read_text())
    assert len(cases) >= 6
    for case in cases:
        opened = envelopes_of(case).open(case["bound"].encode(), bytes.fromhex(case["envelope"]))
        assert opened == Opened(case["value"], **facts_of(case)), case["name"]


def test_this_version_writes_what_its_golden_file_holds() -> None:
    """A change of the format needs a new version and a new file."""
    assert [path.stem for path in GOLDEN][-1] == f"envelope_v{VERSION}"
    for case in json.loads(GOLDEN[-1].read_text()):
        sealed = envelopes_of(case).seal(case["bound"].encode(), case["value"], **facts_of(case))
        # What a compressor makes of a text is its own affair, and changes with its releases.
        assert case.get("packed") or sealed.hex() == case["envelope"], case["name"]


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
    flags[20] |= 32
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
    start, codec, crc, flags, length, duration, expires, stale, epoch = struct.unpack_from(">4s12sIBHQQQ12s", SEALED)
    assert (start, codec.rstrip(b"\0"), flags) == (b"\xc1WW\x02", b"msgpack", 3)
    assert (length, duration, expires, stale) == (len(KEY), 60_000, 1_700_000_060_000, 0)
    assert crc == zlib.crc32(SEALED[20:]) and SEALED[59 : 59 + length] == KEY
    assert epoch == NO_WORD == SEALED[EPOCH_AT : EPOCH_AT + 12]
    assert SEALED[59 + length :] == MsgpackCodec().encode(VALUE)


# --- stale lives, tags, compression and signatures

WORD = b"twelve bytes"
LONG = {"text": "a" * 5_000}
SIGNER, OTHER = Signer("the first of the keys"), Signer("and another of them")
PACKED = Envelopes(MsgpackCodec(), compression=Zstd(above=64, limit=100_000))
SIGNED = Envelopes(MsgpackCodec(), signer=SIGNER)
FULL = Envelopes(MsgpackCodec(), compression=Zstd(above=64), signer=SIGNER)
SEALED_FULLY = FULL.seal(KEY, LONG, duration=5, expires=7, stale=9, epoch=WORD, tags=(("tenant:1", WORD), ("ż", WORD)))


def test_what_is_noted_beside_a_value_comes_back() -> None:
    """The stale life, the epoch and the tags with their words are given back, in every combination of wrappings."""
    for envelopes in (ENVELOPES, PACKED, SIGNED, FULL):
        for tags in ((), (("tenant:1", WORD),), (("", WORD), ("ż" * 300, NO_WORD))):
            facts: dict[str, Any] = {"duration": 60, "expires": 61, "stale": 62, "epoch": WORD, "tags": tags}
            assert envelopes.open(KEY, envelopes.seal(KEY, LONG, **facts)) == Opened(LONG, **facts)


@pytest.mark.parametrize("cut", range(len(SEALED_FULLY)))
def test_every_truncation_of_a_full_envelope_is_noticed(cut: int) -> None:
    """With tags, compression and signature as well."""
    assert reason_of(SEALED_FULLY[:cut], KEY, FULL) in {Reason.TRUNCATED, Reason.CHECKSUM}


@given(at=st.integers(20, len(SEALED_FULLY) - 1), bit=st.integers(0, 7))
def test_a_forged_envelope_is_not_opened(at: int, bit: int) -> None:
    """Who can write to the backend, checksum included, but has no key, changes nothing unnoticed."""
    forged = bytearray(SEALED_FULLY)
    forged[at] ^= 1 << bit
    assert reason_of(checked(bytes(forged)), KEY, FULL) in {Reason.SIGNATURE, Reason.KEY, Reason.VERSION}


def test_a_signature_is_demanded_where_there_is_a_key() -> None:
    """An unsigned value, another key's, another version's and a signed one without a key at hand are all misses."""
    plain, signed = ENVELOPES.seal(KEY, VALUE), SIGNED.seal(KEY, VALUE)
    assert reason_of(plain, KEY, SIGNED) is Reason.SIGNATURE
    assert reason_of(signed, KEY, ENVELOPES) is Reason.SIGNATURE
    assert reason_of(signed, KEY, Envelopes(MsgpackCodec(), signer=OTHER)) is Reason.SIGNATURE
    first = bytes.fromhex(json.loads(GOLDEN[0].read_text())[0]["envelope"])
    assert reason_of(first, b"users:a", SIGNED) is Reason.SIGNATURE
    assert SIGNED.open(KEY, signed).value == VALUE


def test_keys_are_rotated_without_a_gap() -> None:
    """What the old key signed is read while it is among the keys, and what the new one signed as well."""
    old, new = "the old key of sixteen", "the new key of sixteen"
    rotated = Envelopes(MsgpackCodec(), signer=Signer(new, old))
    before = Envelopes(MsgpackCodec(), signer=Signer(old)).seal(KEY, 1)
    assert rotated.open(KEY, before).value == 1
    after = rotated.seal(KEY, 2)
    assert Envelopes(MsgpackCodec(), signer=Signer(new)).open(KEY, after).value == 2
    assert reason_of(before, KEY, Envelopes(MsgpackCodec(), signer=Signer(new))) is Reason.SIGNATURE


def test_large_values_are_compressed_and_small_ones_are_not() -> None:
    """The flag says which; what does not get smaller stays as it is."""
    assert len(PACKED.seal(KEY, LONG)) < 300 < len(ENVELOPES.seal(KEY, LONG))
    assert PACKED.seal(KEY, VALUE) == ENVELOPES.seal(KEY, VALUE)
    noise = random.Random(1).randbytes(3_000)
    assert PACKED.seal(KEY, noise) == ENVELOPES.seal(KEY, noise)
    assert reason_of(PACKED.seal(KEY, LONG)) is Reason.CODEC


def bomb(payload: bytes, envelopes: Envelopes = PACKED) -> bytes:
    """An envelope, true in all but that somebody else made the compressed payload."""
    sealed = bytearray(envelopes.seal(KEY, 1))[: 59 + len(KEY)]
    sealed[20] |= 4
    return checked(bytes(sealed) + payload)


def test_a_bomb_is_a_miss() -> None:
    """A frame that holds more than the limit, or does not say how much, is never opened."""
    zeros = zstandard.ZstdCompressor().compress(bytes(10**8))
    assert len(zeros) < 10_000 and reason_of(bomb(zeros), KEY, PACKED) is Reason.SIZE
    stream = zstandard.ZstdCompressor().compressobj()
    silent = stream.compress(bytes(10**8)) + stream.flush()
    assert reason_of(bomb(silent), KEY, PACKED) is Reason.SIZE
    # A frame that lies: it says 3 bytes and holds a hundred million.
    lie = bytearray(zstandard.ZstdCompressor().compress(b"abc"))
    assert reason_of(bomb(bytes(lie[:6]) + zeros[8:]), KEY, PACKED) in {Reason.VALUE, Reason.SIZE}


@given(st.binary(max_size=60))
def test_any_compressed_payload_is_a_value_or_a_miss(payload: bytes) -> None:
    """Bytes that no compressor made are a miss and no exception."""
    with suppress(Unreadable):
        PACKED.open(KEY, bomb(payload))


@given(st.binary(max_size=60))
def test_any_tags_are_read_or_a_miss(section: bytes) -> None:
    """So are bytes that are no tags."""
    sealed = bytearray(ENVELOPES.seal(KEY, 1))[: 59 + len(KEY)]
    sealed[20] |= 8
    with suppress(Unreadable):
        ENVELOPES.open(KEY, checked(bytes(sealed) + section))


def test_a_pickle_is_never_read_unless_it_is_signed() -> None:
    """The codec sees no byte of an envelope whose signature is missing or wrong."""
    ours, theirs = Envelopes(SignedPickleCodec(SIGNER)), Envelopes(SignedPickleCodec(OTHER))
    assert ours.open(KEY, ours.seal(KEY, {1, 2})).value == {1, 2}
    assert reason_of(theirs.seal(KEY, Trap()), KEY, ours) is Reason.SIGNATURE
    unsigned = bytearray(theirs.seal(KEY, Trap()))[:-36]
    unsigned[20] &= ~16
    assert reason_of(checked(bytes(unsigned)), KEY, ours) is Reason.SIGNATURE
    assert reason_of(ours.seal(KEY, 1), KEY, SIGNED) is Reason.CODEC
    assert Trap.sprung == []


class Trap:
    """An object whose pickle does something when it is read."""

    sprung: ClassVar[list[int]] = []

    def __reduce__(self) -> Any:
        return Trap.sprung.append, (1,)
