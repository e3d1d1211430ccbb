"""Keeps the online events of shoppers in Redis or Valkey, where every replica reads them.

One hash per shopper: event id -> event. A script of one shopper's events runs whole or not at all.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from components.shared.errors import InputError
from serving.metrics import STATE_AWAY
from serving.state.events import StoredEvent
from serving.state.store import Events, State, StateLimits, StateUnavailable, sorted_events

logger = logging.getLogger("kserve.shoprank")

_RECORD = """
local known = 0
for at = 3, #ARGV, 2 do
  known = known + 1 - redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 1])
end
local over = redis.call('HLEN', KEYS[1]) - tonumber(ARGV[1])
if over > 0 then
  local held, entries = redis.call('HGETALL', KEYS[1]), {}
  for at = 1, #held, 2 do
    entries[#entries + 1] = {tonumber(string.match(held[at + 1], '^%d+')) or 0, held[at]}
  end
  table.sort(entries, function(a, b) if a[1] == b[1] then return a[2] < b[2] end return a[1] < b[1] end)
  for at = 1, over do redis.call('HDEL', KEYS[1], entries[at][2]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return known
"""
_PROBE_S = 0.5
"""Seconds between two attempts to reach a server that was away."""


class RedisStore:
    """See StateStore.

    While the server is away, nothing waits for it: reads are stale and events refused at once, until a thread that
    asks again every half a second finds it.

    Args:
        url: redis://HOST:PORT/DB or rediss://; a password in it is kept out of messages.
        prefix: Begins every key.
        limits: See StateLimits; the number of shoppers is Redis' own `maxmemory`.
        timeout_s: Time limit of one exchange.
        password: Of the server, '' for the one in the URL or none.

    Raises:
        InputError: the URL is invalid.
    """

    def __init__(self, url: str, prefix: str, limits: StateLimits, timeout_s: float = 0.05, password: str = ""):
        try:
            self._client = redis.Redis.from_url(
                url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0),
                **({"password": password} if password else {}),
            )  # fmt: skip
        except ValueError as error:
            raise InputError("--state_url is no address of Redis", "give redis://HOST:PORT/DB or rediss://") from error
        self._prefix, self._limits = prefix, limits
        self._script = self._client.register_script(_RECORD)
        self._away, self._closed = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def record(self, events: Events) -> int:
        """See StateStore."""
        bounds = [self._limits.max_events, self._limits.ttl_s]
        with self._reached():
            pipeline = self._client.pipeline(transaction=False)
            for user_id, some in events.items():
                fields = [part for event in some for part in (event.event_id, event.packed())]
                self._script(keys=[self._key(user_id)], args=[*bounds, *fields], client=pipeline)
            return sum(pipeline.execute())

    def read(self, user_ids: Sequence[str]) -> State:
        """See StateStore."""
        names = list(dict.fromkeys(user_ids))
        if not names:
            return State()
        try:
            with self._reached():
                pipeline = self._client.pipeline(transaction=False)
                for name in names:
                    pipeline.hgetall(self._key(name))
                found = pipeline.execute()
        except StateUnavailable:
            return State(stale=True)
        return State({name: _events(held) for name, held in zip(names, found, strict=True) if held})

    def close(self) -> None:
        """See StateStore."""
        self._closed.set()
        self._client.close()

    def _key(self, user_id: str) -> str:
        # Hashed: an id may be an e-mail address, and keys are seen in logs and dumps of a server.
        return f"{self._prefix}:{hashlib.sha256(user_id.encode()).hexdigest()[:32]}"

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Run the body if the server is there.

        Raises:
            StateUnavailable: it is not.
        """
        if self._away.is_set():
            raise _unavailable()
        try:
            yield
        except redis.RedisError as error:
            self._note_away(error)
            raise _unavailable() from error

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            if self._away.is_set():
                return
            self._away.set()
        STATE_AWAY.set(1)
        logger.warning("Redis is away (%s): answers go on without online events", type(error).__name__)
        threading.Thread(target=self._probe, name="state-probe", daemon=True).start()

    def _probe(self) -> None:
        while not self._closed.wait(_PROBE_S):
            with contextlib.suppress(redis.RedisError):
                self._client.ping()
                STATE_AWAY.set(0)
                self._away.clear()
                logger.info("Redis is back")
                return


def _unavailable() -> StateUnavailable:
    return StateUnavailable("the store of events is away", "send the events again, with the same event ids")


def _events(held: dict[bytes, bytes]) -> list[StoredEvent]:
    """Events of a hash; what another version wrote and this one does not read is left out."""
    found = []
    for event_id, text in held.items():
        with contextlib.suppress(ValueError, UnicodeDecodeError):
            found.append(StoredEvent.unpacked(event_id.decode(), text.decode()))
    return sorted_events(found)
