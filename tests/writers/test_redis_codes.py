"""Each first word of a Redis error in the table: said by a real server where one here can be made to say it.

The rest is told by a server that says what it is told to, with the reason why. A word of the table in neither list
fails a test.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any, ClassVar, TypeAlias

import pytest
import redis

from tests.servers import PrivateServer
from tests.servers.private import descendants, free_port
from tests.writers.redis_kit import Client, Pipeline, Telling, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, ErrorCode, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers import _redis_codes as codes
from wellwired.writers._rules import Kind
from wellwired.writers.redis import RedisWriter

Start: TypeAlias = Callable[..., PrivateServer]
Real: TypeAlias = Callable[[Any, Start], WriteError]

REAL: dict[str, Real] = {}

TOLD = {
    "MOVED": "needs a cluster of two servers that agree about slots, which takes them seconds",
    "ASK": "needs a slot on its way between two servers of a cluster",
    "TRYAGAIN": "needs two keys of such a slot of which one has moved",
    "EXECABORT": "redis-py raises the refusal of the command that caused it in its place",
    "DENIED": "protected mode speaks to clients of other machines only",
}

WATCHED = {"WATCH": "ours, tested in test_redis.py"}


def real(word: str) -> Callable[[Real], Real]:
    """Files what makes a real server say a word."""

    def file(make: Real) -> Real:
        REAL[word] = make
        return make

    return file


def put(_request: WriteRequest, pipeline: Pipeline) -> None:
    """One write."""
    pipeline.set("a", 1)


def options(**given: str) -> dict[str, str]:
    """A server's options by their own names."""
    return {name.replace("_", "-"): value for name, value in given.items()}


class Writer(RedisWriter):
    """A writer that remembers by which way its writes are to be sent."""

    way: ClassVar[dict[str, Any]] = {}


def failure(writer: Writer, work: Callable[[WriteRequest, Any], Any] = put) -> WriteError:
    """How a write fails."""
    with pytest.raises(WriteError) as caught:
        write(writer, work, **writer.way)
    return caught.value


def until(writer: Writer, word: str, work: Callable[[WriteRequest, Any], Any] = put) -> WriteError:
    """Writes until the server says the word; what it says before that is of the same kind or a success."""
    deadline = Deadline.after(30)
    for turn in itertools.takewhile(lambda _: not deadline.passed, itertools.count()):
        way: dict[str, Any] = writer.way | ({"key": f"k{turn}"} if "key" in writer.way else {})
        try:
            write(writer, work, **way)
        except WriteError as error:
            if error.backend_code == word:
                return error
    raise AssertionError(f"the server never said {word}")


class Own:
    """Opens clients of private servers, and closes them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def client(self, url: str, **options: Any) -> Client:
        """One more."""
        return self._stack.enter_context(closing(redis.Redis.from_url(url, **options)))

    def writer(self, url: str, **options: Any) -> Writer:
        """A writer with a client of its own."""
        return Writer("redis.cache", self.client(url, **options))

    def meanwhile(self, act: Callable[[], object]) -> None:
        """Does it in a thread, whatever becomes of it."""

        def run() -> None:
            with suppress(redis.RedisError):
                act()

        thread = threading.Thread(target=run)
        thread.start()
        self._stack.callback(thread.join, 30)


@pytest.fixture
def own() -> Iterator[Own]:
    """Clients of the test's own."""
    with ExitStack() as stack:
        yield Own(stack)


@real("LOADING")
def loading(own: Own, start: Start) -> WriteError:
    """A server that reads its data slowly."""
    server = start(**options(enable_debug_command="yes", loading_process_events_interval_bytes="1024"))
    admin = own.client(server.url)
    admin.mset({f"key:{number}": "x" * 200 for number in range(400)})
    admin.config_set("key-load-delay", 5000)
    own.meanwhile(lambda: admin.execute_command("DEBUG RELOAD"))
    error = until(own.writer(server.url), "LOADING")
    server.kill()
    return error


@real("CLUSTERDOWN")
def clusterdown(own: Own, start: Start) -> WriteError:
    """A cluster's server that has no slots."""
    return failure(own.writer(start(**options(cluster_enabled="yes", cluster_port=str(free_port()))).url))


@real("CROSSSLOT")
def crossslot(own: Own, start: Start) -> WriteError:
    """One with all slots, and a command across two of them."""
    server = start(**options(cluster_enabled="yes", cluster_port=str(free_port()), cluster_require_full_coverage="no"))
    own.client(server.url).execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)

    def work(_request: WriteRequest, pipeline: Pipeline) -> None:
        pipeline.mset({"a": 1, "b": 2})

    return until(own.writer(server.url), "CROSSSLOT", work)


@real("MASTERDOWN")
def masterdown(own: Own, start: Start) -> WriteError:
    """A writable replica that serves nothing stale, without its primary."""
    server = start(**options(replica_serve_stale_data="no", replica_read_only="no"))
    own.client(server.url).replicaof("127.0.0.1", "1")
    return failure(own.writer(server.url))


@real("NOREPLICAS")
def noreplicas(own: Own, start: Start) -> WriteError:
    """A primary that wants a replica, and has none."""
    return failure(own.writer(start(**options(min_replicas_to_write="1")).url))


@real("READONLY")
def readonly(own: Own, start: Start) -> WriteError:
    """A replica."""
    primary, replica = start(), start()
    own.client(replica.url).replicaof("127.0.0.1", str(primary.port))
    return failure(own.writer(replica.url))


@real("BUSY")
def busy(own: Own, start: Start) -> WriteError:
    """A server that runs somebody's endless script."""
    server = start(**options(busy_reply_threshold="10"))
    own.meanwhile(lambda: own.client(server.url, socket_timeout=30).eval("while true do end", 0))
    error = until(own.writer(server.url), "BUSY")
    own.client(server.url).script_kill()
    return error


@real("NOSCRIPT")
def noscript(own: Own, start: Start) -> WriteError:
    """A handler's own script that the server has forgotten."""
    return failure(own.writer(start().url), lambda _r, p: p.evalsha("f" * 40, 0) and None)


@real("OOM")
def oom(own: Own, start: Start) -> WriteError:
    """A server without memory."""
    return failure(own.writer(start(**options(maxmemory="1mb")).url))


@real("MISCONF")
def misconf(own: Own, start: Start) -> WriteError:
    """A server whose snapshot has failed."""
    server = start(**options(save="3600 1", rdb_key_save_delay="1000000", stop_writes_on_bgsave_error="yes"))
    admin = own.client(server.url)
    admin.mset({f"key:{number}": 1 for number in range(100)})
    admin.bgsave()
    for child in descendants(server.pid):
        os.kill(child, signal.SIGKILL)
    return until(own.writer(server.url), "MISCONF")


@real("MAXCLIENTS")
def maxclients(own: Own, start: Start) -> WriteError:
    """A server that has all the clients it takes."""
    server = start(**options(maxclients="1"))
    writer = own.writer(server.url)
    deadline = Deadline.after(30)
    holder = None
    while holder is None and not deadline.passed:  # the one that waited for its start may not be gone yet
        with suppress(redis.ConnectionError):
            holder = own.client(server.url, single_connection_client=True)
    return failure(writer)


@real("WRONGTYPE")
def wrongtype(own: Own, start: Start) -> WriteError:
    """A key of another type."""
    server = start()
    own.client(server.url).rpush("a", 1)
    return failure(own.writer(server.url), lambda _r, p: p.incr("a") and None)


@real("ERR")
def err(own: Own, start: Start) -> WriteError:
    """A command that there is not."""
    return failure(own.writer(start().url), lambda _r, p: p.execute_command("NONSENSE") and None)


@real("BUSYKEY")
def busykey(own: Own, start: Start) -> WriteError:
    """A key that is there, and is to be restored."""
    server = start()
    admin = own.client(server.url)
    admin.set("a", 1)
    dump = admin.dump("a")
    return failure(own.writer(server.url), lambda _r, p: p.restore("a", 0, dump) and None)


@real("BUSYGROUP")
def busygroup(own: Own, start: Start) -> WriteError:
    """A group that is there."""
    server = start()
    own.client(server.url).xgroup_create("s", "g", mkstream=True)
    return failure(own.writer(server.url), lambda _r, p: p.xgroup_create("s", "g") and None)


@real("NOGROUP")
def nogroup(own: Own, start: Start) -> WriteError:
    """A group that is not there."""
    return failure(own.writer(start().url), lambda _r, p: p.xclaim("s", "g", "c", 0, ["1-1"]) and None)


@real("NOAUTH")
def noauth(own: Own, start: Start) -> WriteError:
    """A server with a password, and a client without."""
    server = start()
    own.client(server.url).config_set("requirepass", "secret")
    return failure(own.writer(server.url))


@real("WRONGPASS")
def wrongpass(own: Own, start: Start) -> WriteError:
    """A client with the wrong one."""
    server = start()
    own.client(server.url).config_set("requirepass", "secret")
    return failure(own.writer(server.url, username="default", password="wrong"))


@real("NOPERM")
def noperm(own: Own, start: Start) -> WriteError:
    """A user that may not write."""
    server = start()
    own.client(server.url).acl_setuser("reader", enabled=True, nopass=True, commands=["+@all", "-set"], keys=["*"])
    return failure(own.writer(server.url, username="reader", password="x"))


def expected(word: str) -> tuple[Outcome, Retry, str]:
    """What follows from the table's row."""
    rule = codes.RULES[word]
    return Outcome.NOT_APPLIED, Retry.NEVER if rule.kind is Kind.PERMANENT else Retry.SAFE, rule.reason


def test_every_word_of_the_table_is_produced() -> None:
    """A row that is added needs a server that says it."""
    assert sorted([*REAL, *TOLD, *WATCHED]) == sorted(codes.RULES)


@pytest.mark.redis
@pytest.mark.parametrize("word", sorted(REAL))
def test_what_a_real_server_says(word: str, own: Own, private_redis: Start) -> None:
    """The word is found, nothing is applied, and it is tried again if that may help."""
    error = REAL[word](own, private_redis)

    assert error.backend_code == word
    assert (error.outcome, error.retry, error.reason) == expected(word)


@pytest.mark.redis
@pytest.mark.parametrize("way", [{"fenced": True}, {"key": "k"}], ids=["fenced", "keyed"])
@pytest.mark.parametrize("word", ["BUSY", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"])
def test_what_it_says_to_a_script(
    word: str, way: dict[str, Any], own: Own, private_redis: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script's own refusals, and those of its commands, mean what they mean to a block: nothing is applied."""
    monkeypatch.setattr(Writer, "way", way)

    error = REAL[word](own, private_redis)

    assert error.backend_code == word
    assert (error.outcome, error.retry, error.reason) == expected(word)


@pytest.mark.parametrize("way", [{}, {"fenced": True}, {"key": "k"}], ids=["block", "fenced", "keyed"])
@pytest.mark.parametrize("word", sorted(TOLD))
def test_what_a_server_is_told_to_say(word: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for words that no server here says, to a MULTI block and to a script."""
    monkeypatch.setattr(Writer, "way", way)

    def answer(words: list[bytes]) -> bytes:
        if words[0] == b"TIME":
            return b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
        # redis-py looks for a slot and a place behind two of them.
        return b"-%s 1 127.0.0.1:1\r\n" % word.encode()

    with closing(Telling(answer)) as server, redis.Redis.from_url(f"redis://127.0.0.1:{server.port}") as client:
        error = failure(Writer("redis.cache", client))

    assert (error.backend_code, error.phase) == (word, Phase.COMMIT)
    assert (error.outcome, error.retry, error.reason) == expected(word)


def test_a_word_that_nobody_knows_is_unknown() -> None:
    """Nothing is assumed about it: it may have been applied, and it is never sent again."""
    with (
        closing(Telling(lambda _words: b"-BRANDNEW told\r\n")) as server,
        redis.Redis.from_url(f"redis://127.0.0.1:{server.port}") as client,
    ):
        error = failure(Writer("redis.cache", client))

    assert isinstance(error, BackendError)
    assert (error.code, error.outcome, error.retry) == (ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.NEVER)
