"""Rates and quotas of clients: a token bucket and a count per day of UTC, in the memory of one replica."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from serving.access.config import Limits

_DAY = 86_400
MAX_CLIENTS = 100_000
"""Clients whose use is remembered; beyond, those that asked least recently begin anew."""


@dataclass
class _Use:
    """What a client has used: tokens left in its bucket at a moment, requests of a day."""

    tokens: float
    at: float
    day: int
    asked: int = 0


@dataclass(frozen=True)
class Exceeded:
    """A limit that was reached: `rate` or `quota`, and the seconds after which another request fits."""

    limit: str
    retry_after_s: int


class ClientLimits:
    """Counts the requests of clients.

    Args:
        clock: Epoch seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._used: OrderedDict[str, _Use] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str, limits: Limits) -> Exceeded | None:
        """Count one request, or say which limit it exceeds; a refused one counts for nothing."""
        if limits.per_second is None and limits.per_day is None:
            return None
        now = self._clock()
        with self._lock:
            use = self._use(client, limits, now)
            if limits.per_day is not None and use.asked >= limits.per_day:
                return Exceeded("quota", math.ceil((use.day + 1) * _DAY - now))
            if limits.per_second is not None:
                # A clock that is set back adds nothing.
                gained = max(0.0, now - use.at) * limits.per_second
                use.tokens, use.at = min(float(limits.at_once), use.tokens + gained), now
                if use.tokens < 1:
                    return Exceeded("rate", max(1, math.ceil((1 - use.tokens) / limits.per_second)))
                use.tokens -= 1
            use.asked += 1
        return None

    def _use(self, client: str, limits: Limits, now: float) -> _Use:
        day = int(now // _DAY)
        use = self._used.get(client)
        if use is None:
            use = self._used[client] = _Use(float(limits.at_once), now, day)
        if use.day != day:
            use.day, use.asked = day, 0
        self._used.move_to_end(client)
        if len(self._used) > MAX_CLIENTS:
            self._used.popitem(last=False)
        return use
