"""What Redis does for us in one step each: Lua scripts, which nothing can come in between.

Their keys are the hashes of `Keys`, in its order. `absorbed` has an entry for each instance that
was folded into an archive not too long ago: the snapshot it had then, or nothing if that is lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple


class Keys(NamedTuple):
    """The three hashes of one application. The braces keep them in one slot of a cluster."""

    snapshots: str
    schemas: str
    absorbed: str


def keys_of(prefix: str, app: str) -> Keys:
    """Return the keys of the application called `app`."""
    start = f"{prefix}:{{{app}}}"
    return Keys(f"{start}:metric:snapshots", f"{start}:meta:schemas", f"{start}:meta:absorbed")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and what Redis calls it once it knows it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

READ = _script(_NOW + "return {string.format('%.0f', now), redis.call('HGETALL', KEYS[1])}")
"""Returns Redis's time in milliseconds and all snapshots."""

PUBLISH = _script(
    _NOW
    + """
local answers = {}
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  at = at + 2
end
local new_schema = false
while at <= #ARGV do
  local field, sequence, stamp, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local gone = tonumber(ARGV[at + 4])
  at = at + 5
  for i = at, at + gone - 1 do
    if redis.call('HSETNX', KEYS[3], ARGV[i], string.format('%016.0f', now)) == 1 then
      redis.call('HDEL', KEYS[1], ARGV[i])
    end
  end
  at = at + gone
  local absorbed = redis.call('HGET', KEYS[3], field)
  local old = redis.call('HGET', KEYS[1], field)
  local schema = string.sub(body, 1, 20)
  if absorbed then
    table.insert(answers, 'absorbed')
    table.insert(answers, string.sub(absorbed, 17))
  elseif old and tonumber(string.sub(old, 17, 32)) >= tonumber(sequence) then
    table.insert(answers, 'stale')
    table.insert(answers, string.sub(old, 17, 32))
  elseif redis.call('HEXISTS', KEYS[2], schema) == 0 then
    table.insert(answers, 'schema')
    table.insert(answers, '')
  else
    local when = tonumber(stamp)
    if when == 0 then when = now end
    redis.call('HSETNX', KEYS[1], 'born', string.format('%016.0f', now))
    redis.call('HSET', KEYS[1], field, string.format('%016.0f%016.0f', when, sequence) .. body)
    new_schema = new_schema or not old or string.sub(old, 33, 52) ~= schema
    table.insert(answers, 'stored')
    table.insert(answers, old and '' or 'new')
  end
end
local most = 2 * (redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[3])) + 8
if new_schema and redis.call('HLEN', KEYS[2]) > most then
  local used = {}
  for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
    used[string.sub(value, 33, 52)] = true
  end
  for _, value in ipairs(redis.call('HVALS', KEYS[3])) do
    used[string.sub(value, 49, 68)] = true
  end
  for _, schema in ipairs(redis.call('HKEYS', KEYS[2])) do
    if not used[schema] then redis.call('HDEL', KEYS[2], schema) end
  end
end
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
local all = {}
if ARGV[2] == 'all' then all = redis.call('HGETALL', KEYS[1]) end
return {string.format('%.0f', now), all, answers}
"""
)
"""Stores snapshots that are newer than what is there.

ARGV: life time of the keys in ms; 'all' to get all snapshots too; number of schemas; id and packed
text of each; then for each snapshot: id, sequence number, stamp (0 for now), body, number of
instances that it has absorbed, and their ids.
Returns the time, all snapshots if wanted, and for each snapshot a word with a detail: `stored`
(`new` if there was none before), `stale` (the sequence number that is there), `schema` (its schema
is wanted), `absorbed` (the snapshot that was).
A schema that no snapshot refers to goes, once there are many more schemas than snapshots.
"""

FOLD = _script(
    _NOW
    + """
local born = redis.call('HGET', KEYS[1], 'born')
if not born or now - tonumber(born) < tonumber(ARGV[2]) then return 0 end
for i = 8, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  if not old or tonumber(string.sub(old, 17, 32)) ~= tonumber(ARGV[i + 1]) then return 0 end
end
local stored = redis.call('HGETALL', KEYS[3])
for i = 1, #stored, 2 do
  if now - tonumber(string.sub(stored[i + 1], 1, 16)) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[3], stored[i])
  end
end
for i = 8, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  redis.call('HSET', KEYS[3], ARGV[i], string.format('%016.0f', now) .. old)
  redis.call('HDEL', KEYS[1], ARGV[i])
end
redis.call('HSET', KEYS[2], ARGV[5], ARGV[6])
redis.call('HSET', KEYS[1], ARGV[4], string.format('%016.0f%016.0f', now, 1) .. ARGV[7])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return 1
"""
)
"""Puts one archive in the place of snapshots, if they are as they were read; else does nothing.

ARGV: life time of the keys in ms; how long the snapshots must have been there without a loss, and
how long absorbed instances are remembered, in ms; id of the archive; id and packed text of its
schema; its body; id and sequence number of each snapshot.
"""
