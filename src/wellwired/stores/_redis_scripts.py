"""The two scripts of the Redis store: each is one atomic step for any number of keys of one namespace.

Every key has a fence: a key of its own that holds a random word. A write puts a new word there, so whoever remembers
the old one can see that it has been overtaken. The words are random and not counted up, because a server that is short
of memory may evict a counter, and one that began again would repeat itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

__all__ = ["DELETE", "STORE", "Script"]


class Script:
    """A Lua script, sent by its digest, and in full to a server that does not know it yet.

    Args:
        text: the script.
    """

    __slots__ = ("_digest", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, command: Callable[..., Any], keys: Sequence[bytes], arguments: Sequence[Any]) -> Any:
        """Runs it.

        Args:
            command: a client's `execute_command`.
            keys: the script's KEYS.
            arguments: the script's ARGV.

        Returns:
            The script's answer.
        """
        try:
            return command("EVALSHA", self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return command("EVAL", self._text, len(keys), *keys, *arguments)


# KEYS: value and fence of each item. ARGV: mode, new word, then for each item: envelope, milliseconds to live ('' for
# ever, 0 to remove), expiry by the server's clock ('' for none), the word that its writer remembers.
# All are judged before the first is stored, so that items which share a fence do not overtake one another. An expiry
# that this server's clock would not reach in that time comes from a stale reading of it: nothing is stored, and the
# caller reads the clock again.
STORE: Final = Script("""
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local admitted = {}
for item = 1, #KEYS / 2 do
  local at = 4 * item - 1
  local life, expires = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if life and expires and expires > now + life then return -1 end
  admitted[item] = ARGV[1] == 'set' or redis.call('GET', KEYS[2 * item]) == ARGV[at + 3]
end
local stored = {}
for item = 1, #KEYS / 2 do
  stored[item] = 0
  if admitted[item] then
    local at, name = 4 * item - 1, KEYS[2 * item - 1]
    local life = tonumber(ARGV[at + 1])
    if not life then redis.call('SET', name, ARGV[at])
    elseif life > 0 then redis.call('SET', name, ARGV[at], 'PX', ARGV[at + 1])
    else redis.call('DEL', name) end
    if life ~= 0 then stored[item] = 1 end
    if ARGV[1] ~= 'fill' then redis.call('SET', KEYS[2 * item], ARGV[2]) end
  end
end
return stored
""")

# KEYS: value and fence of each item. ARGV: the new word.
DELETE: Final = Script("""
local removed = 0
for item = 1, #KEYS, 2 do
  removed = removed + redis.call('UNLINK', KEYS[item])
  redis.call('SET', KEYS[item + 1], ARGV[1])
end
return removed
""")
