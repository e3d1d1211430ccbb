"""The stored or inline history of a request as a one-row `Histories`."""

import time
from dataclasses import dataclass

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.history import Histories, HistoryStore
from components.shared.features.spec import FeatureSpec
from components.shared.schema.tables import EVENT_TYPES
from serving.clock import Clock
from serving.protocol import Event, Instance


@dataclass(frozen=True)
class Shoppers:
    """Finds the shopper history of a request.

    Attributes:
        spec: history length and end of the bundle's data. catalog: rows of items in inline histories.
        store: stored histories. user_row: shopper index by user id.
        clock: current time for requests without a timestamp: the end of the bundle's data, or system time.
    """

    spec: FeatureSpec
    catalog: Catalog
    store: HistoryStore
    user_row: dict[str, int]
    clock: Clock

    def histories(self, instance: Instance, warnings: list[str]) -> Histories:
        """One row of events strictly before the request's time; ignored events are reported in `warnings`.

        The time is `context.timestamp`; else, with the bundle's clock, the end of its data or just after the last
        inline event if that is later; else the system time. An inline history replaces the stored one.
        """
        shopper = self.user_row.get(instance.user_id, 0) if instance.user_id is not None else 0
        now = self._now(instance)
        if instance.history is None:
            return self.store.before(np.array([shopper]), np.array([now]), self.spec.max_history)
        return self._inline(instance.history, shopper, now, warnings)

    def _now(self, instance: Instance) -> int:
        if instance.context.timestamp is not None:
            return instance.context.timestamp
        if self.clock == "system":
            return int(time.time())
        return max(self.spec.as_of, *(event.timestamp + 1 for event in instance.history or ()), 0)

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
