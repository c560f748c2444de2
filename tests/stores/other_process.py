"""Another process that uses the same backend: told what to do line by line, so that a test decides who comes first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any

from wellwired.stores.protocols import Entry

__all__ = ["OtherProcess", "open_store"]


def open_store(url: str) -> Any:
    """A store of the namespace ``shared`` on the backend of a URL."""
    if url.startswith("redis"):
        import redis

        from wellwired.stores.redis import RedisStore

        return RedisStore(redis.Redis.from_url(url), namespace="shared")
    import sqlalchemy as sa

    from wellwired.stores.sql import SQLStore

    return SQLStore(sa.create_engine(url), namespace="shared")


class OtherProcess:
    """A Python process of its own with a store on the backend.

    Args:
        url: the backend.
    """

    def __init__(self, url: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["", *sys.path]))}
        command = [sys.executable, "-m", "tests.stores.other_process", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> OtherProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=20)

    def do(self, verb: str, *arguments: Any) -> Any:
        """Has it call a method of its store, and waits until it has."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the other process has ended"
        return json.loads(answer)


def perform(store: Any, verb: str, arguments: list[Any]) -> Any:
    """Does what one line says."""
    if verb == "set_many":
        return store.set_many({key: Entry(value) for key, value in arguments[0].items()})
    if verb == "put_many":
        tokens = store.tokens(list(arguments[0]))
        return sorted(store.put_many({key: (Entry(value), tokens[key]) for key, value in arguments[0].items()}))
    answer = getattr(store, verb)(*arguments)
    return answer.value if isinstance(answer, Entry) else answer


def main(url: str) -> None:
    """Does line by line what it is told, and answers each."""
    store = open_store(url)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(perform(store, verb, arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
