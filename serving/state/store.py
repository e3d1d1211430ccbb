"""What keeps the online events of shoppers: an interface, and a store in the memory of one process."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from components.shared.errors import ShoprankError
from serving.state.events import StoredEvent

Events = Mapping[str, Sequence[StoredEvent]]
"""Events by user id, oldest first."""


class StateUnavailable(ShoprankError):
    """The store does not take events now: HTTP 503; what was sent may be sent again with the same event ids."""


@dataclass(frozen=True)
class State:
    """What is known of some shoppers.

    Attributes:
        events: Their events; shoppers without any are left out.
        stale: Whether the store could not be asked, so that events may be missing.
    """

    events: Events = field(default_factory=dict)
    stale: bool = False

    def of(self, user_id: str | None) -> Sequence[StoredEvent]:
        """Events of one shopper, oldest first."""
        return self.events.get(user_id, ()) if user_id is not None else ()


NO_STATE = State()


class StateStore(Protocol):
    """Keeps events; all methods are thread-safe."""

    def record(self, events: Events) -> int:
        """Keep events, all of a shopper or none; returns how many were known before.

        Raises:
            StateUnavailable: they were not, or perhaps not all, kept.
        """
        ...

    def read(self, user_ids: Sequence[str]) -> State:
        """The events of some shoppers. Never raises, and never takes much longer than the store's time limit."""
        ...

    def close(self) -> None:
        """End connections and threads."""
        ...


@dataclass(frozen=True, kw_only=True)
class StateLimits:
    """Bounds of what is kept."""

    ttl_s: int = 7 * 86_400
    """Seconds after a shopper's latest event in which its events are kept."""
    max_events: int = 200
    """Latest events of a shopper that are kept; event ids are known as long."""
    max_shoppers: int = 100_000
    """Shoppers in the memory of a process, with five events each on average (some 200 MB for 100,000); beyond, those
    without an event for longest are forgotten."""


_ON_AVERAGE = 5
"""Events of a shopper that the memory of a process has room for, if it keeps as many shoppers as it may."""


class LocalStore:
    """Keeps events in memory: of this process alone, and until it ends.

    Args:
        limits: See StateLimits.
        clock: Seconds, for the age of entries.
    """

    def __init__(self, limits: StateLimits, clock: Callable[[], float] = time.monotonic):
        self._limits, self._clock = limits, clock
        self._shoppers: OrderedDict[str, tuple[float, dict[str, StoredEvent]]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def record(self, events: Events) -> int:
        """See StateStore."""
        known, most = 0, self._limits.max_shoppers
        with self._lock:
            now = self._clock()
            self._expire(now)
            for user_id, some in events.items():
                held = self._forget(user_id) if user_id in self._shoppers else {}
                known += sum(event.event_id in held for event in some)
                merged = _latest({event.event_id: event for event in some} | held, self._limits.max_events)
                self._shoppers[user_id] = now, merged
                self._count += len(merged)
            while len(self._shoppers) > most or self._count > max(_ON_AVERAGE * most, self._limits.max_events):
                self._forget(next(iter(self._shoppers)))
        return known

    def read(self, user_ids: Sequence[str]) -> State:
        """See StateStore."""
        with self._lock:
            self._expire(self._clock())
            found = {name: self._shoppers[name][1] for name in user_ids if name in self._shoppers}
            return State({name: sorted_events(held.values()) for name, held in found.items()})

    def close(self) -> None:
        """Nothing to end."""

    def _expire(self, now: float) -> None:
        """Forget the shoppers whose latest event is too old; they are in the order of it."""
        while self._shoppers:
            name, (written, _) = next(iter(self._shoppers.items()))
            if now - written <= self._limits.ttl_s:
                return
            self._forget(name)

    def _forget(self, user_id: str) -> dict[str, StoredEvent]:
        _, held = self._shoppers.pop(user_id)
        self._count -= len(held)
        return held


def sorted_events(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Events, oldest first; those of one second by their ids, as the order in which they came is not known."""
    return sorted(events, key=lambda event: (event.timestamp, event.event_id))


def _latest(events: Mapping[str, StoredEvent], count: int) -> dict[str, StoredEvent]:
    if len(events) <= count:
        return dict(events)
    return {event.event_id: event for event in sorted_events(events.values())[-count:]}
