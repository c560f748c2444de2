"""Answers that came out of a script, as the client's own methods would return them.

A script sees every answer in the shape of RESP2, whatever the connection speaks, so a client that speaks RESP3 would
misread some of them: a score would be text, a hash a list. So redis-py's callbacks for RESP2 are used, and those that
the application has set on its client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import ConnectionPool, Redis

from wellwired.writers._redis_fence import Command

__all__ = ["Callbacks"]


class Callbacks:
    """What turns a script's answers into Python's values.

    Args:
        client: the application's.
    """

    __slots__ = ("_client", "_plain", "_resp2")

    def __init__(self, client: Redis) -> None:
        given = client.connection_pool.connection_kwargs
        legacy = {"legacy_responses": given["legacy_responses"]} if "legacy_responses" in given else {}
        spoken = {"protocol": given["protocol"]} if "protocol" in given else {}
        self._client = client
        self._plain = _callbacks(legacy | spoken)
        self._resp2 = _callbacks({**legacy, "protocol": 2})

    def read(self, answers: Sequence[Any], commands: Sequence[Command]) -> list[Any]:
        """Reads the answers to commands.

        Args:
            answers: as the script gave them; an exception stays as it is.
            commands: what they answer; if there are more or fewer, the answers are an earlier handler's.
        """
        if len(answers) != len(commands):
            return list(answers)
        return [
            self._one(answer, words[0], options) for answer, (words, options) in zip(answers, commands, strict=True)
        ]

    def _one(self, answer: Any, name: Any, options: Any) -> Any:
        if isinstance(answer, Exception):
            return answer
        callbacks: Any = self._client.response_callbacks
        own = callbacks.get(name)
        callback = own if own is not self._plain.get(name) else self._resp2.get(name)
        return answer if callback is None else callback(answer, **{k: v for k, v in options.items() if k != "keys"})


def _callbacks(options: dict[str, Any]) -> Any:
    # Neither connects: a client knows its callbacks from its pool's arguments.
    return Redis(connection_pool=ConnectionPool(**options)).response_callbacks
