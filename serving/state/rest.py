"""`POST /v1/events`: takes events of shoppers."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import ORJSONResponse

from serving.metrics import EVENTS, REFUSED
from serving.protocol import RequestError
from serving.state.events import ShopperEvent, StoredEvent, kept, parse_events
from serving.state.store import StateStore, StateUnavailable

_SHOWN = 20
"""Unknown items that an answer names."""


def install_events(app: FastAPI, store: StateStore, now: Callable[[], int], knows: Callable[[str], bool]) -> None:
    """Add the route.

    Args:
        app: kserve's application.
        store: Keeps the events.
        now: Epoch seconds by the predictor's clock.
        knows: Whether the catalog has an item.
    """

    async def events(request: Request) -> ORJSONResponse:
        try:
            given = parse_events(await request.body(), now())
        except RequestError as error:
            REFUSED.labels("field" if error.field else "body").inc()
            return ORJSONResponse({"error": error.headline, "fix": error.fix, "field": error.field}, 400)
        try:
            known = await asyncio.to_thread(store.record, by_shopper(given))
        except StateUnavailable as error:
            EVENTS.labels("unavailable").inc(len(given))
            content = {"error": error.headline, "fix": error.fix, "field": ""}
            return ORJSONResponse(content, 503, {"retry-after": "1"})
        return ORJSONResponse(_answer(given, known, knows))

    app.add_api_route("/v1/events", events, methods=["POST"], response_model=None, tags=["V1"])


def by_shopper(given: Sequence[ShopperEvent]) -> dict[str, list[StoredEvent]]:
    """What is kept of events, by shopper; of an id that is there twice the first one."""
    found: dict[str, dict[str, StoredEvent]] = defaultdict(dict)
    for event in given:
        if (stored := kept(event)) is not None:
            found[event.user_id].setdefault(event.event_id, stored)
    return {user_id: list(events.values()) for user_id, events in found.items()}


def _answer(given: Sequence[ShopperEvent], known: int, knows: Callable[[str], bool]) -> dict[str, Any]:
    ids = [(event.user_id, event.event_id) for event in given if event.item_id is not None]
    duplicates = known + len(ids) - len(set(ids))
    unknown = dict.fromkeys(event.item_id for event in given if event.item_id and not knows(event.item_id))
    EVENTS.labels("accepted").inc(len(given) - duplicates)
    EVENTS.labels("duplicate").inc(duplicates)
    return {"accepted": len(given) - duplicates, "duplicates": duplicates, "unknown_items": list(unknown)[:_SHOWN]}
