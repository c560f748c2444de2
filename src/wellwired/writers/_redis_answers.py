"""Answers that came out of a script, as the client's own methods would return them.

A script sees every answer in the shape of RESP2, whatever the connection speaks, so a client that speaks RESP3 would
misread some of them: a score would be text, a hash a list. So redis-py's callbacks for RESP2 are used, and those that
the application has set on its client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis import ConnectionPool, Redis

from wellwired.writers._redis_fence import Command

__all__ = ["Callbacks", "called_back"]


class Callbacks:
    """What turns a script's answers into Python's values.

    Args:
        client: the application's.
    """

    __slots__ = ("_client", "_found", "_plain", "_resp2")

    def __init__(self, client: Redis) -> None:
        given = client.connection_pool.connection_kwargs
        legacy = {"legacy_responses": given["legacy_responses"]} if "legacy_responses" in given else {}
        spoken = {"protocol": given["protocol"]} if "protocol" in given else {}
        self._client = client
        self._plain = _callbacks(legacy | spoken)
        self._resp2 = _callbacks({**legacy, "protocol": 2})
        self._found: dict[Any, tuple[Any, Any]] = {}

    def read(self, answers: Sequence[Any], commands: Sequence[Command]) -> list[Any]:
        """Reads the answers to commands.

        Args:
            answers: as the script gave them; an exception stays as it is.
            commands: what they answer; if there are more or fewer, the answers are an earlier handler's.
        """
        if len(answers) != len(commands):
            return list(answers)
        callbacks: Any = self._client.response_callbacks
        read: list[Any] = []
        for answer, (words, options) in zip(answers, commands, strict=True):
            name = words[0]
            own = callbacks.get(name)
            found = self._found.get(name)
            if found is None or found[0] is not own:
                found = self._found[name] = (own, own if own is not self._plain.get(name) else self._resp2.get(name))
            read.append(called_back(found[1], answer, options))
        return read


def called_back(callback: Any, answer: Any, options: Mapping[str, Any]) -> Any:
    """An answer as a client's method would return it.

    Args:
        callback: the client's, or None.
        answer: Redis's; an exception stays as it is.
        options: what the command was queued with.
    """
    if callback is None or isinstance(answer, Exception):
        return answer
    if "keys" in options:  # redis-py's own note, for its cache
        options = {name: one for name, one in options.items() if name != "keys"}
    return callback(answer, **options)


def _callbacks(options: dict[str, Any]) -> Any:
    # Neither connects: a client knows its callbacks from its pool's arguments.
    return Redis(connection_pool=ConnectionPool(**options)).response_callbacks
