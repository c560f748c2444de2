"""Idempotency keys in Redis: the queued commands of a write as one script that runs them at most once.

MULTI cannot ask whether a key is there and go on only if it is not, so a write with an idempotency key is sent as a
script: it looks for the key's record, takes the key, runs the commands one after the other as MULTI would, and stores
their answers, all in one atomic step. The record lives as long as keys are kept. It is claimed before the commands
run, so that a server without memory refuses while nothing is applied.

Answers come back, and are stored, in a small form of their own, because Lua's tables would turn into other things on
the way: a letter, and a length or a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from redis import ResponseError

from wellwired.writers._keys import Key

__all__ = ["SCRIPT", "Answer", "arguments", "parse", "record_name"]

SCRIPT = """
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
local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'data', 'answers')
if known[1] then
  if known[1] ~= ARGV[1] then return {'reused', '', ''} end
  return {'replay', known[2], known[3]}
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'data', ARGV[3], 'answers', '')
local answers, applied, at, count = {}, 0, 4, 0
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local answer = redis.pcall(unpack(ARGV, at + 1, at + words))
  if type(answer) ~= 'table' or not answer['err'] then applied = applied + 1 end
  count = count + 1
  answers[count] = pack(answer)
  at = at + words + 1
end
local packed = '*' .. count .. ';' .. table.concat(answers)
if count > 0 and applied == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'answers', packed)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {'done', ARGV[3], packed}
"""

Command = tuple[tuple[Any, ...], Mapping[str, Any]]


class Answer(NamedTuple):
    """What the script said.

    Args:
        state: ``done``, ``replay`` or ``reused``.
        data: what the handler returned, as it was stored; None if that was nothing.
        answers: the answers to the commands, in order; an error stands as a `ResponseError`.
    """

    state: str
    data: Any
    answers: list[Any]


def record_name(key: Key) -> str:
    """The name of a key's record in Redis."""
    return f"wellwired:key:{key.id}"


def arguments(key: Key, data: bytes, commands: Sequence[Command]) -> list[Any]:
    """What the script is given after the record's name.

    Args:
        key: the request's.
        data: the handler's result as JSON, or nothing.
        commands: the queued commands.
    """
    given: list[Any] = [key.fingerprint, max(1, key.expires - key.now) * 1000, data]
    for words, _ in commands:
        split = [*str(words[0]).split(), *words[1:]]
        given += [len(split), *split]
    return given


def parse(raw: Sequence[bytes], text: Callable[[bytes], Any]) -> Answer:
    """Reads the script's answer.

    Args:
        raw: as Redis sent it, not decoded.
        text: how the client decodes a string.
    """
    state, data, packed = raw
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
