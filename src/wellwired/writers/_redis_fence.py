"""The deadline's fence inside Redis: queued commands as a script that does nothing once the deadline has passed.

Commands that were sent in time may lie in a server's buffer while it is frozen, and be done long after their sender
gave up. A script can look at the server's clock first. So it is given the deadline in the server's own time, answers
"expired" if that has passed, and runs the commands otherwise, one after the other, as MULTI would, except that nothing
follows a first command that failed. Between its look at the clock and its commands nothing else runs; only a machine
that stops within those microseconds does them later.

Scripts are sent by their digest, and in full to a server that does not know them yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

__all__ = ["CLOCK", "FENCE", "FENCE_MANY", "Command", "Script", "fits", "flat"]

Command = tuple[tuple[Any, ...], Mapping[str, Any]]
"""A queued command: its words, and what its callback is given."""

# Lua's stack holds some 8,000 values, and a command's words lie on it.
_MOST_WORDS: Final = 7_000


class Script:
    """A Lua script for a connection of a lane.

    Args:
        text: the script.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, connection: Any, words: Sequence[Any], *, raw: bool = False) -> Any:
        """Runs it.

        Args:
            connection: a lane's.
            words: the number of keys, the keys, and the arguments.
            raw: whether texts in the answer are left as bytes, whatever the client does otherwise.

        Returns:
            The script's answer.

        Raises:
            LateError: the deadline passed before it was sent.
            redis.RedisError: it was refused, or there was no answer.
        """
        connection.send_command("EVALSHA", self.digest, *words)
        try:
            return connection.read_response(disable_decoding=raw)
        except NoScriptError:
            connection.send_command("EVAL", self.text, *words)
            return connection.read_response(disable_decoding=raw)


# `limit` and `now` are in microseconds since the Unix epoch, by the server's own clock.
CLOCK: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit = tonumber(ARGV[1])
"""

# ARGV: the limit, '' for none; then for each command the number of its words, and the words.
FENCE: Final = Script(
    CLOCK
    + """
if limit and now >= limit then return {0, now} end
local answers, at = {1, now}, 2
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local answer = redis.pcall(unpack(ARGV, at + 1, at + words))
  answers[#answers + 1] = answer
  if at == 2 and type(answer) == 'table' and answer['err'] then return answers end
  at = at + words + 1
end
return answers
"""
)

# ARGV: the limit; then for each of several writes the number of its commands, and these as above. Each write has a list
# of answers of its own, and ends for itself.
FENCE_MANY: Final = Script(
    CLOCK
    + """
if limit and now >= limit then return {0, now} end
local writes, at = {1, now}, 2
while at <= #ARGV do
  local left, answers, going = tonumber(ARGV[at]), {}, true
  at = at + 1
  while left > 0 do
    local words = tonumber(ARGV[at])
    if going then
      local answer = redis.pcall(unpack(ARGV, at + 1, at + words))
      answers[#answers + 1] = answer
      going = #answers > 1 or type(answer) ~= 'table' or not answer['err']
    end
    at, left = at + words + 1, left - 1
  end
  writes[#writes + 1] = answers
end
return writes
"""
)


def fits(commands: Sequence[Command]) -> bool:
    """Whether commands can be run by a script: none of them has more words than Lua can hold."""
    return all(len(words) <= _MOST_WORDS for words, _ in commands)


def flat(commands: Sequence[Command]) -> list[Any]:
    """Commands as a script's arguments: for each the number of its words, and the words."""
    given: list[Any] = []
    for words, _ in commands:
        name = words[0]
        # Only the name may be of two words, such as "XGROUP CREATE".
        split = (*name.split(), *words[1:]) if isinstance(name, str) and " " in name else words
        given.append(len(split))
        given += split
    return given
