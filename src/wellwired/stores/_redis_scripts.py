r"""The scripts of the Redis store: each is one atomic step for any number of keys of one namespace.

Every key has a fence: a key of its own that holds a random word. A write puts a new word there, so whoever remembers
the old one can see that it has been overtaken. The namespace has a state: its epoch, a word that a clear renews and
that every envelope bears, and a second word that every invalidation of tags renews. The words are random and not
counted up, because a server that is short of memory may evict a counter, and one that began again would repeat itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

__all__ = [
    "ADD",
    "CLEARED",
    "DELETE",
    "INVALIDATE",
    "LEASE",
    "LEASED",
    "MAKE",
    "PURGE",
    "REMOVE",
    "SEEN",
    "STORE",
    "SWAP",
    "Script",
]

CLEARED: Final = b"clr!"
"""What the epoch of a namespace that was cleared begins with; no envelope of version 1 outlives a clear."""


class Script:
    """A Lua script, sent by its digest, and in full to a server that does not know it yet.

    Args:
        text: the script.
    """

    __slots__ = ("_digest", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def run(self, command: Callable[..., Any], keys: Sequence[bytes], arguments: Sequence[Any] = ()) -> Any:
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


_STATE: Final = r"""
local state = redis.call('GET', KEYS[1]) or ''
local epoch, invalidated = string.sub(state, 1, 12), string.sub(state, 13, 24)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# What lies under a name, by the head of its envelope: nil (no envelope), 0 (ended, or cleared away: then with true),
# 1 (there), 2 (there, unless one of its tags was invalidated).
_THERE: Final = r"""
local function there(name)
  local head = redis.pcall('GETRANGE', name, 0, 58)
  if type(head) ~= 'string' or #head < 39 or string.sub(head, 1, 3) ~= '\193WW' then return nil end
  local version, flags = string.byte(head, 4), string.byte(head, 21)
  if version == 2 then
    if #head < 59 then return nil end
    if string.sub(head, 48, 59) ~= epoch then return 0, true end
  elseif version ~= 1 then return nil
  elseif string.sub(epoch, 1, 4) == 'clr!' then return 0, true end
  if math.floor(flags / 2) % 2 == 1 then
    local expires = 0
    for at = 32, 39 do expires = expires * 256 + string.byte(head, at) end
    if expires <= now then return 0 end
  end
  return math.floor(flags / 8) % 2 + 1
end
"""

# KEYS: the state, then value and fence of each item. ARGV: mode, new word, then for each item: envelope, milliseconds
# to keep it ('' for ever, 0 to remove), when that ends by the server's clock ('' for none), the word of the fence that
# its writer remembers, the epoch that it remembers, and the word of invalidations if it has tags.
# All are judged before the first is stored, so that items which share a fence do not overtake one another. An end
# that this server's clock would not reach in that time comes from a stale reading of it: nothing is stored, and the
# caller reads the clock again. The same goes for a write that knows another epoch.
_STORE: Final = (
    _STATE
    + r"""
local function item_at(item) return 1 + keys * (item - 1), 3 + arguments * (item - 1) end
local admitted, count = {}, (#KEYS - 1) / keys
for item = 1, count do
  local key, at = item_at(item)
  local life, expires = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if life and expires and expires > now + life then return -1 end
  if ARGV[1] == 'set' then
    if ARGV[at + 4] ~= epoch then return -1 end
    admitted[item] = true
  else
    admitted[item] = redis.call('GET', KEYS[key + 2]) == ARGV[at + 3] and ARGV[at + 4] == epoch
      and (ARGV[at + 5] == '' or ARGV[at + 5] == invalidated)
      and (keys == 2 or redis.call('GET', KEYS[key + 3]) == ARGV[at + 6])
  end
end
local stored = {}
for item = 1, count do
  stored[item] = 0
  if admitted[item] then
    local key, at = item_at(item)
    local name, life = KEYS[key + 1], tonumber(ARGV[at + 1])
    if not life then redis.call('SET', name, ARGV[at])
    elseif life > 0 then redis.call('SET', name, ARGV[at], 'PX', ARGV[at + 1])
    else redis.call('DEL', name) end
    if life ~= 0 then stored[item] = 1 end
    if ARGV[1] ~= 'fill' then redis.call('SET', KEYS[key + 2], ARGV[2]) end
  end
end
return stored
"""
)
STORE: Final = Script("local keys, arguments = 2, 6" + _STORE)

# The same for items whose writer holds a lease of each: its name after the fence, its word after the six arguments.
LEASED: Final = Script("local keys, arguments = 3, 7" + _STORE)

# KEYS: the state, then value, fence and lease of each key. ARGV: milliseconds to hold the leases, milliseconds that a
# value must have left to count, two words for the state if it has none, then for each key: a word for its lease,
# whether to look for a value first, a word for its fence if that has none. The answer: the state, then for each key
# whether it is granted, the word of its fence, and what lies there if it counts. A lease that has our word already was
# granted to this very command, which was sent before and its answer lost.
LEASE: Final = Script(
    _STATE
    + _THERE
    + r"""
if state == '' then
  state = ARGV[3]; redis.call('SET', KEYS[1], state)
  epoch = string.sub(state, 1, 12)
end
now = now + tonumber(ARGV[2])
local answers = {state}
for item = 1, (#KEYS - 1) / 3 do
  local name, place, at = KEYS[3 * item - 1], KEYS[3 * item], 3 * item + 1
  local fence = redis.call('GET', place)
  if not fence then fence = ARGV[at + 2]; redis.call('SET', place, fence) end
  if ARGV[at + 1] == '1' and (there(name) or 0) > 0 then answers[item + 1] = {0, fence, redis.call('GET', name)}
  elseif redis.call('SET', KEYS[3 * item + 1], ARGV[at], 'NX', 'PX', ARGV[1])
    or redis.call('GET', KEYS[3 * item + 1]) == ARGV[at] then answers[item + 1] = {1, fence}
  else answers[item + 1] = {0, fence} end
end
return answers
"""
)

# What the next two begin and end with. KEYS: state, value and fence. ARGV: a new word, then six arguments as above, of
# which the fourth and the sixth are of no use here. If the fence has our word already, this very command was sent
# before and its answer was lost.
_ONE: Final = (
    _STATE
    + _THERE
    + r"""
local life, expires = tonumber(ARGV[3]), tonumber(ARGV[4])
local name, fence = KEYS[2], KEYS[3]
local again = redis.call('GET', fence) == ARGV[1]
local late = life and expires and expires > now + life
"""
)
_DONE: Final = r"""
if life == 0 then redis.call('DEL', name)
elseif life then redis.call('SET', name, ARGV[2], 'PX', ARGV[3])
else redis.call('SET', name, ARGV[2]) end
redis.call('SET', fence, ARGV[1])
"""

# Three more of the ARGV: the word of invalidations, if tags are concerned; whether there was something to be read; and
# the bytes that lay there. What could not be read then may have gone since, but nothing may have come.
SWAP: Final = Script(
    _ONE
    + r"""
if again then return 1 end
if late then return -1 end
if ARGV[6] ~= epoch or (ARGV[8] ~= '' and ARGV[8] ~= invalidated) then return 0 end
local same = redis.pcall('GET', name) == ARGV[10]
local seen = (there(name) or 0) > 0
if ARGV[9] == '1' then
  if not (same and seen) then return 0 end
elseif seen and not same then return 0 end
"""
    + _DONE
    + "return 1"
)

# The answer: 1 (stored), -1 (to be packed anew), or 0 with what lies there and the state.
ADD: Final = Script(
    _ONE
    + r"""
if again then return {1} end
if late or ARGV[6] ~= epoch then return {-1} end
if (there(name) or 0) > 0 then return {0, redis.call('GET', name), state} end
"""
    + _DONE
    + "return {1}"
)

# KEYS: the state, then value and fence of each item. ARGV: the new word.
DELETE: Final = Script(
    _STATE
    + _THERE
    + r"""
local removed = 0
for item = 2, #KEYS, 2 do
  if (there(KEYS[item]) or 0) > 0 then removed = removed + 1 end
  redis.call('UNLINK', KEYS[item])
  redis.call('SET', KEYS[item + 1], ARGV[1])
end
return removed
"""
)

# KEYS: the state, then names. The answer: for each name 0 (not there), 1 (there) or 2 (there, but look at its tags).
SEEN: Final = Script(
    _STATE
    + _THERE
    + r"""
local seen = {}
for item = 2, #KEYS do seen[item - 1] = there(KEYS[item]) or 0 end
return seen
"""
)

# KEYS: the state, then names. Removes those that a clear has left behind; the answer: how many.
PURGE: Final = Script(
    _STATE
    + _THERE
    + r"""
local removed = 0
for item = 2, #KEYS do
  local _, cleared = there(KEYS[item])
  if cleared then removed = removed + redis.call('UNLINK', KEYS[item]) end
end
return removed
"""
)

# KEYS: names. ARGV: for each what is to be put there, if nothing is.
MAKE: Final = Script("""
for item = 1, #KEYS do redis.call('SET', KEYS[item], ARGV[item], 'NX') end
return 1
""")

# KEYS: names. ARGV: for each what is to be removed there, if it is still that. The answer: how many were removed.
REMOVE: Final = Script("""
local removed = 0
for item = 1, #KEYS do
  if redis.call('GET', KEYS[item]) == ARGV[item] then removed = removed + redis.call('UNLINK', KEYS[item]) end
end
return removed
""")

# KEYS: the state, then tags. ARGV: a new word.
INVALIDATE: Final = Script("""
for tag = 2, #KEYS do redis.call('SET', KEYS[tag], ARGV[1]) end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('SETRANGE', KEYS[1], 12, ARGV[1]) end
return 1
""")
