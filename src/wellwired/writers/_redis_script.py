"""Idempotency keys in Redis: the queued commands of a write as one script that runs them at most once.

MULTI cannot ask whether a key is there and go on only if it is not, so a write with an idempotency key is sent as a
script: it looks for the key's record, takes the key, runs the commands one after the other as MULTI would, and stores
their answers, all in one atomic step. The record lives as long as keys are kept. It is claimed before the commands
run, so that a server without memory refuses while nothing is applied. A new key is refused after the deadline (see
`_redis_fence`), so that from then on the record tells what became of a write whose answer was lost.

Answers come back, and are stored, in a small form of their own, because Lua's tables would turn into other things on
the way: a letter, and a length or a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis import ResponseError

from wellwired.writers._keys import Key
from wellwired.writers._redis_fence import CLOCK, Command, Script, flat

__all__ = ["ASK", "ONCE", "Answer", "arguments", "parse", "record_name"]

_LOOK: Final = (
    CLOCK
    + """
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'data', 'answers', 'by')
if known[1] then
  if known[1] ~= ARGV[2] then return {'reused', now, '', ''} end
  return {known[4] == ARGV[3] and 'done' or 'replay', now, known[2], known[3]}
end
if limit and now >= limit then return {'expired', now, '', ''} end
"""
)

# KEYS: the record. ARGV: the limit, the fingerprint, the attempt's name.
ASK: Final = Script(_LOOK + "return {'open', now, '', ''}")

# KEYS: the record. ARGV: the limit, the fingerprint, the attempt's name, milliseconds to keep it, the handler's result,
# the commands.
ONCE: Final = Script(
    """
local function pack(r)
  local kind = type(r)
  if kind == 'number' then return string.format(':%.0f;', r) end
  if kind == 'string' then return '$' .. #r .. ';' .. r end
  if kind == 'boolean' then return r and ':1;' or '-;' end
  if kind ~= 'table' then return '-;' end
  local word = tostring(r['err'] or r['ok'])
  if r['err'] then return '!' .. #word .. ';' .. word end
  if r['ok'] then return '+' .. #word .. ';' .. word end
  local parts = {'*' .. #r .. ';'}
  for i = 1, #r do parts[i + 1] = pack(r[i]) end
  return table.concat(parts)
end
"""
    + _LOOK
    + """
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2], 'by', ARGV[3], 'data', ARGV[5], 'answers', '')
local answers, applied, at, count = {}, 0, 6, 0
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local answer = redis.pcall(unpack(ARGV, at + 1, at + words))
  count = count + 1
  answers[count] = pack(answer)
  if type(answer) ~= 'table' or not answer['err'] then applied = applied + 1
  elseif applied == 0 then break end
  at = at + words + 1
end
local packed = '*' .. count .. ';' .. table.concat(answers)
if count > 0 and applied == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'answers', packed)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'done', now, ARGV[5], packed}
"""
)


class Answer(NamedTuple):
    """What the script said.

    Args:
        state: ``done`` by this attempt, ``replay`` of another's, ``reused``, ``expired``, or ``open`` for one that may
            still come.
        data: what the handler returned, as it was stored; None if that was nothing.
        answers: the answers to the commands, in order; an error stands as a `ResponseError`.
    """

    state: str
    data: Any
    answers: list[Any]


def record_name(key: Key) -> str:
    """The name of a key's record in Redis."""
    return f"wellwired:key:{key.id}"


def arguments(key: Key, attempt: bytes, data: bytes, commands: Sequence[Command]) -> list[Any]:
    """What the script is given after the limit.

    Args:
        key: the request's.
        attempt: the attempt's own name, by which it knows its record again.
        data: the handler's result as JSON, or nothing.
        commands: the queued commands.
    """
    return [key.fingerprint, attempt, max(1, key.expires - key.now) * 1000, data, *flat(commands)]


def parse(raw: Sequence[Any], text: Callable[[bytes], Any]) -> Answer:
    """Reads the script's answer.

    Args:
        raw: as Redis sent it, not decoded.
        text: how the client decodes a string.
    """
    state, _, data, packed = raw
    answers = _unpack(packed, 0, text)[0] if packed else []
    return Answer(state.decode(), msgspec.json.decode(data) if data else None, answers)


def _unpack(packed: bytes, at: int, text: Callable[[bytes], Any]) -> tuple[Any, int]:
    kind, end = packed[at : at + 1], packed.index(b";", at)
    number = packed[at + 1 : end]
    if kind == b"-":
        return None, end + 1
    if kind == b":":
        return int(number), end + 1
    if kind == b"*":
        return _unpack_array(packed, end + 1, int(number), text)
    start = end + 1
    content = packed[start : start + int(number)]
    value = ResponseError(content.decode(errors="replace")) if kind == b"!" else text(content)
    return value, start + len(content)


def _unpack_array(packed: bytes, at: int, count: int, text: Callable[[bytes], Any]) -> tuple[list[Any], int]:
    values = []
    for _ in range(count):
        value, at = _unpack(packed, at, text)
        values.append(value)
    return values, at
