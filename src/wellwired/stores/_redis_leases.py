"""The leases of keys in Redis: who may load a key that is not there, and until when.

A lease lies beside the value, with a word of its holder's, and ends by itself. A token that comes with one carries that
word behind its fence and state, so that the script which stores the value can see whether the lease is still held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wellwired.stores._life import milliseconds
from wellwired.stores._redis_names import Names, new_word
from wellwired.stores._redis_scripts import LEASE, REMOVE
from wellwired.stores._redis_values import NEVER, TOKEN_BYTES, RedisValues
from wellwired.stores.keys import encode_key
from wellwired.stores.protocols import Entry

__all__ = ["RedisLeases"]

_BATCH: Final = 256

_Answers = dict[str, tuple[bool, Entry[Any] | None, bytes]]


class RedisLeases:
    """The leases of one namespace; safe for threads.

    Args:
        names: where the namespace keeps what.
        values: opens what lies there.
        command: sends a command.
    """

    def __init__(self, names: Names, values: RedisValues, command: Callable[..., Any]) -> None:
        self._names, self._values, self._command = names, values, command

    def take(self, keys: Sequence[str], seconds: float, ahead: float) -> _Answers:
        """Tries to get leases; one script for each 256, and one more for values that turn out to be unreadable.

        Args:
            keys: of which keys.
            seconds: how long they last.
            ahead: seconds; a value that has no more of them left counts as not there.

        Returns:
            For each key whether there is a lease; its entry, if it has one; and its token.
        """
        answers: _Answers = {}
        for at in range(0, len(keys), _BATCH):
            batch = keys[at : at + _BATCH]
            answers |= self._asked(batch, seconds, ahead, look=True)
            # What is there for the server may be unreadable, or its tags gone: then it is to be loaded anew.
            if unreadable := [key for key in batch if answers[key][1] is None and not answers[key][2]]:
                answers |= self._asked(unreadable, seconds, ahead, look=False)
        return answers

    def give_back(self, tokens: Mapping[str, bytes]) -> None:
        """Gives leases back, as far as they are still held; one script for each 256.

        Args:
            tokens: that came with the leases, by key.
        """
        held = [(self._names.lease(encode_key(key)), token[TOKEN_BYTES:]) for key, token in tokens.items()]
        held = [(name, word) for name, word in held if word]
        for at in range(0, len(held), _BATCH):
            batch = held[at : at + _BATCH]
            REMOVE.run(self._command, [name for name, _ in batch], [word for _, word in batch])

    def _asked(self, keys: Sequence[str], seconds: float, ahead: float, *, look: bool) -> _Answers:
        """The script's answers; a token that lets nothing in stands for a value that cannot be read."""
        names, raws, word = self._names, [encode_key(key) for key in keys], new_word()
        wanted = [argument for _ in keys for argument in (word, int(look), new_word())]
        life, left = max(1, milliseconds(seconds) or 1), milliseconds(ahead) or 0
        first = (life, left, names.fresh(names.state))
        state, *found = LEASE.run(self._command, names.leased_places(raws), (*first, *wanted))
        there = [(key, names.prefix + raw, one[2]) for key, raw, one in zip(keys, raws, found, strict=True) if one[2:]]
        envelopes = [envelope for _, _, envelope in there]
        entries = self._values.opened([key for key, _, _ in there], [name for _, name, _ in there], envelopes, state)
        answers: _Answers = {}
        for key, (granted, fence, *value) in zip(keys, found, strict=True):
            unreadable = value and key not in entries
            token = NEVER if unreadable else fence + state + (word if granted else NEVER)
            answers[key] = (bool(granted), entries.get(key), token)
        return answers
