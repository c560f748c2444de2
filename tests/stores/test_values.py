"""Codecs that need more: compression, signatures, pickle by name; and a corpus of bad bytes, read through a stack."""

from __future__ import annotations

import datetime as dt
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wellwired.errors import CodecError, MissingExtraError
from wellwired.stores import DelegatedStore, Entry, Layer
from wellwired.stores.codecs import Codec, MsgpackCodec
from wellwired.stores.compression import Zstd
from wellwired.stores.damage import Damage, Reason
from wellwired.stores.envelope import Envelopes
from wellwired.stores.pickling import SignedPickleCodec
from wellwired.stores.redis import RedisStore
from wellwired.stores.signing import SIGNATURE_BYTES, Signer
from wellwired.stores.sql import SQLStore

SIGNER = Signer("a key of more than sixteen bytes")


# --- the parts


def test_without_the_extra_compression_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"wellwired\[zstd\]"):
        Zstd()


@pytest.mark.parametrize("bad", [{"above": -1}, {"level": 0}, {"level": 20}, {"limit": 0}])
def test_compression_in_no_range_is_refused(bad: dict[str, int]) -> None:
    """When it is made, and not when it is used."""
    with pytest.raises(ValueError, match="above is 0"):
        Zstd(**bad)


@given(payload=st.binary(max_size=4_000))
def test_what_was_packed_comes_back(payload: bytes) -> None:
    """Whatever it is; and what does not get smaller is left alone."""
    zstd = Zstd(above=0)
    packed = zstd.pack(payload)
    assert packed is None or (len(packed) < len(payload) and zstd.unpack(packed) == payload)


def test_what_could_not_be_opened_again_is_not_packed() -> None:
    """A payload above the limit stays as it is."""
    assert Zstd(above=0, limit=1_000).pack(b"a" * 1_001) is None


def test_a_signer_shows_no_key() -> None:
    """Neither in its text nor in its errors."""
    assert repr(SIGNER) == "Signer(1 keys)"
    for keys in ((), ("short",), ("a key of more than sixteen bytes",) * 2):
        with pytest.raises(ValueError, match="a signer") as caught:
            Signer(*keys)
        assert "sixteen" not in str(caught.value)


@given(data=st.binary(max_size=50), noise=st.binary(max_size=40))
def test_only_a_key_makes_a_signature(data: bytes, noise: bytes) -> None:
    """A signature verifies for its data, by its key, and nothing else does."""
    signature = SIGNER.sign(data)
    assert len(signature) == SIGNATURE_BYTES and SIGNER.verifies(data, signature)
    assert not SIGNER.verifies(data + b"x", signature) and not SIGNER.verifies(data, noise)
    assert not Signer("some other key of sixteen").verifies(data, signature)


def test_pickle_is_asked_for_by_name_and_with_a_signer() -> None:
    """No other codec reads one, and this one cannot be had without a signer."""
    with pytest.raises(TypeError, match="Signer"):
        SignedPickleCodec(None)  # type: ignore[arg-type]
    codec = SignedPickleCodec(SIGNER)
    assert isinstance(codec, Codec) and repr(codec) == "SignedPickleCodec(Signer(1 keys))"
    assert codec.decode(codec.encode({"when": dt.date(2020, 1, 1), "set": {1}})) == {
        "when": dt.date(2020, 1, 1),
        "set": {1},
    }
    with pytest.raises(CodecError, match="pickle cannot encode this function"):
        codec.encode(lambda: None)


# --- bad bytes in both shared stores, read through a stack

ENVELOPES = Envelopes(MsgpackCodec(), compression=Zstd(above=10), signer=SIGNER)
GOOD = ENVELOPES.seal(b"users:a", {"name": "Ada" * 20})
CORPUS: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "a pickle": pickle.dumps({"a": 1}),
    "msgpack": MsgpackCodec().encode({"a": 1}),
    "cut in the head": GOOD[:30],
    "cut in the key": GOOD[:62],
    "cut at the end": GOOD[:-1],
    "one byte more": GOOD + b"x",
    "another key's": ENVELOPES.seal(b"users:b", 1),
    "another namespace's": ENVELOPES.seal(b"users2:a", 1),
    "unsigned": Envelopes(MsgpackCodec()).seal(b"users:a", 1),
    "signed by another": Envelopes(MsgpackCodec(), signer=Signer("some other key of sixteen")).seal(b"users:a", 1),
    "another codec's": Envelopes(SignedPickleCodec(SIGNER)).seal(b"users:a", 1),
    "a newer version's": GOOD[:3] + b"\x07" + GOOD[4:],
    "zeros": bytes(200),
}

Plant = Callable[[bytes], None]


@pytest.fixture(params=["redis", "sql"])
def planted(request: pytest.FixtureRequest, sqlite_url: str, fresh_redis: Any) -> Any:
    """A shared store that signs and compresses, and a way to put bytes under its key ``a``."""
    options: dict[str, Any] = {"namespace": "users", "compression": Zstd(above=10), "signer": SIGNER}
    if request.param == "redis":
        import fakeredis

        client: Any = fakeredis.FakeRedis(server=fakeredis.FakeServer())
        yield RedisStore(client, **options), lambda data: client.set("users:a", data)
        client.close()
        return
    engine = sa.create_engine(sqlite_url)
    store = SQLStore(engine, **options)
    store.create_table()

    def plant(data: bytes) -> None:
        store.set("a", "good")
        with engine.begin() as connection:
            connection.execute(store.table.update().where(store.table.c.entry_key == b"a").values(value=data))

    yield store, plant
    engine.dispose()


@pytest.mark.parametrize("name", CORPUS)
def test_bad_bytes_are_a_miss_and_an_event(planted: tuple[Any, Plant], name: str) -> None:
    """By every way of reading: nothing is served, nothing is raised, each is told, and a write mends it."""
    store, plant = planted
    told: list[Damage] = []
    store.damage.listen(told.append)
    plant(CORPUS[name])
    assert store.get("a") is None and store.read("a")[0] is None and store.has("a") is False
    assert store.get_many(["a"]) == {} and store.read_many(["a"])["a"][0] is None
    assert len(told) >= 5 and {damage.key for damage in told} == {"a"} and store.damage.total == len(told)
    with DelegatedStore[Any]([Layer(store, primary=True)]) as stack:
        assert stack.get("a", None) is None
        assert stack.get_or_load("a", lambda key: Entry("loaded")) == "loaded"
        assert stack.get("a") == "loaded"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.binary(max_size=120) | st.binary(max_size=60).map(lambda tail: GOOD[:59] + tail))
def test_any_bytes_are_a_miss_and_an_event(planted: tuple[Any, Plant], data: bytes) -> None:
    """Whatever lies there: who has no key gets nothing served."""
    store, plant = planted
    plant(data)
    before = store.damage.total
    assert store.read("a")[0] is None
    assert store.damage.total == before + 1


def test_a_good_value_is_read(planted: tuple[Any, Plant]) -> None:
    """The tests above do not pass because nothing is ever read."""
    store, _ = planted
    value = {"name": "Ada" * 1_000}
    store.set("a", value, 60.0)
    assert store.get("a").value == value and store.damage.total == 0
    assert Reason.SIZE not in store.damage.counts
