"""The history of a request, stored and online or inline, as a one-row `Histories`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.history import Histories, HistoryStore
from components.shared.features.spec import FeatureSpec
from components.shared.schema.tables import EVENT_TYPES
from serving.clock import Clock
from serving.protocol import Event, Instance
from serving.state.events import StoredEvent


@dataclass(frozen=True)
class Shoppers:
    """Finds the shopper history of a request.

    Attributes:
        spec: history length and end of the bundle's data. catalog: rows of items in inline histories.
        store: stored histories. user_row: shopper index by user id.
        clock: current time for requests without a timestamp: the end of the bundle's data, or system time.
        started: of time.monotonic, when the clock of the bundle began to go on.
    """

    spec: FeatureSpec
    catalog: Catalog
    store: HistoryStore
    user_row: dict[str, int]
    clock: Clock
    started: float = field(default_factory=time.monotonic)

    def now(self) -> int:
        """Epoch seconds of the clock, which goes on from the end of the bundle's data or is the system's."""
        return int(time.time() if self.clock == "system" else self.spec.as_of + time.monotonic() - self.started)

    def histories(
        self, instance: Instance, warnings: list[str], online: Sequence[StoredEvent] = ()
    ) -> Histories:  # fmt: skip
        """One row of events strictly before the request's time; ignored events are reported in `warnings`.

        The time is `context.timestamp`; else the end of the bundle's data, or with the system's clock the minute that
        has begun, so that what is known of a shopper is computed once a minute; but after the last inline or online
        event that has happened by then. An inline history replaces the stored one and online events.

        Args:
            instance: The instance.
            warnings: Receives what was ignored.
            online: Events of its shopper since the bundle was made.
        """
        shopper = self.user_row.get(instance.user_id, 0) if instance.user_id is not None else 0
        if instance.history is not None:
            times = [event.timestamp for event in instance.history]
            return self._inline(instance.history, shopper, self._time(instance, times), warnings)
        now = self._time(instance, [event.timestamp for event in online])
        stored = self.store.before(np.array([shopper]), np.array([now]), self.spec.max_history)
        return self._with_online(stored, online, now) if online else stored

    def _time(self, instance: Instance, events: Sequence[int]) -> int:
        if instance.context.timestamp is not None:
            return instance.context.timestamp
        if self.clock == "bundle":
            return max(self.spec.as_of, *(timestamp + 1 for timestamp in events), 0)
        system = int(time.time())
        return max(system - system % 60, *(timestamp + 1 for timestamp in events if timestamp <= system), 0)

    def _with_online(self, stored: Histories, online: Sequence[StoredEvent], now: int) -> Histories:
        """The stored events and those since; what is in both, as after the bundle was made anew, is there once."""
        rows = self.catalog.row_of
        held = set(zip(stored.item.tolist(), stored.event_type.tolist(), stored.timestamp.tolist(), strict=True))
        since = [
            (rows[event.item_id], EVENT_TYPES.index(event.event_type), event.timestamp, event.price)
            for event in online if event.timestamp < now and event.item_id in rows
        ]  # fmt: skip
        since = [event for event in since if event[:3] not in held]
        if not since:
            return stored
        item, event_type, timestamp, price = (list(column) for column in zip(*since, strict=True))
        columns = {"item": item, "event_type": event_type, "timestamp": timestamp, "price": price}
        both = {name: np.append(getattr(stored, name), values) for name, values in columns.items()}
        latest = np.argsort(both["timestamp"], kind="stable")[-self.spec.max_history :]
        return Histories(
            user=stored.user, now=stored.now, offsets=np.array([0, len(latest)], np.int64),
            item=both["item"][latest].astype(np.int64), event_type=both["event_type"][latest].astype(np.int64),
            timestamp=both["timestamp"][latest].astype(np.int64), price=both["price"][latest].astype(np.float32),
        )  # fmt: skip

    def _inline(self, events: list[Event], shopper: int, now: int, warnings: list[str]) -> Histories:
        rows = self.catalog.row_of
        known = [event for event in events if event.item_id in rows]
        if len(known) < len(events):
            first = next(event.item_id for event in events if event.item_id not in rows)
            count = len(events) - len(known)
            warnings.append(f"history: {count} events of unknown items ignored, first '{first[:60]}'")
        past = sorted((event for event in known if event.timestamp < now), key=lambda event: event.timestamp)
        if len(past) < len(known):
            warnings.append(
                f"history: {len(known) - len(past)} events at or after the time of the request ({now}) ignored"
            )
        past = past[-self.spec.max_history :]
        return Histories(
            user=np.array([shopper if shopper <= self.store.known_users else 0], np.int64),
            now=np.array([now], np.int64),
            offsets=np.array([0, len(past)], np.int64),
            item=np.array([rows[event.item_id] for event in past], np.int64),
            event_type=np.array([EVENT_TYPES.index(event.event_type) for event in past], np.int64),
            timestamp=np.array([event.timestamp for event in past], np.int64),
            price=np.array([np.nan if event.price is None else event.price for event in past], np.float32),
        )
