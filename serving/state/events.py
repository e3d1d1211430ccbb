"""Events of shoppers as a frontend sends them to `POST /v1/events`, and what is kept of them."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.protocol import Identifier, Moment, Price, RequestError, Text, refusal, shown

EventType = Literal["search", "impression", "view", "cart", "purchase"]
MAX_EVENTS = 500
"""Maximum number of events in one request."""
_AHEAD_S = 300
"""Seconds by which the clock of a frontend may be ahead."""


class ShopperEvent(BaseModel):
    """One event, as in the data contract (components/shared/schema), with an id of its own."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    event_id: Annotated[str, Field(pattern=r"^[\w.:-]{1,128}$")]
    """Chosen by the frontend; what is sent again with the same id has no second effect."""
    user_id: Annotated[Identifier, Field(min_length=1)]
    """Shopper, or session of an anonymous one: the `user_id` of the requests that are to know of it."""
    event_type: EventType
    item_id: Annotated[Identifier, Field(min_length=1)] | None = None
    """None for a search that opened no item."""
    timestamp: Moment | None = None
    """Epoch seconds or ISO 8601; None: now, by the clock of the predictor."""
    price: Price | None = None
    query: Text | None = None
    quantity: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    session_id: Text | None = None
    request_id: Text | None = None
    """`request_id` of the answer that caused the event."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What is kept of an event with an item.

    Attributes:
        event_id, item_id: Ids. timestamp: Epoch seconds. event_type: Its type. price: NaN when unknown.
    """

    event_id: str
    timestamp: int
    item_id: str
    event_type: EventType
    price: float

    def packed(self) -> str:
        """As text that begins with the time, without the event id."""
        price = None if math.isnan(self.price) else self.price
        return f"{self.timestamp} {orjson.dumps([self.item_id, self.event_type, price]).decode()}"

    @classmethod
    def unpacked(cls, event_id: str, text: str) -> "StoredEvent":
        """Read what `packed` wrote.

        Raises:
            ValueError: it is something else.
        """
        timestamp, _, rest = text.partition(" ")
        item_id, event_type, price = orjson.loads(rest)
        if not isinstance(item_id, str) or event_type not in get_args(EventType):
            raise ValueError(f"no event: {text[:60]}")
        return cls(event_id, int(timestamp), item_id, event_type, math.nan if price is None else float(price))


def parse_events(body: bytes, now: int) -> list[ShopperEvent]:
    """Validate a body: {"events": [event, ...]}; events without a time get `now`.

    Args:
        body: JSON in UTF-8.
        now: Epoch seconds by the predictor's clock.

    Raises:
        RequestError: the message names the field, the given value and the allowed values.
    """
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}", 'send {"events": [...]} in UTF-8') from error
    if not isinstance(raw, dict) or set(raw) != {"events"}:
        raise RequestError("the body is not {'events': [...]}", "send {'events': [{'event_id': ..., ...}]}")
    events = raw["events"]
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        count = f"has {len(events)} events" if isinstance(events, list) else f"is {shown(events)}"
        raise RequestError(f"events {count}", f"send a list of 1 to {MAX_EVENTS}", "events")
    return [_parsed(one, f"events[{position}].", now) for position, one in enumerate(events)]


def _parsed(raw: object, where: str, now: int) -> ShopperEvent:
    if not isinstance(raw, dict):
        raise RequestError(f"{where[:-1]} is {shown(raw)}, not an object", "send {'event_id': ...}", where[:-1])
    try:
        event = ShopperEvent.model_validate(raw)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_context=False)[0], where, ShopperEvent) from error
    if event.item_id is None and event.event_type != "search":
        field = f"{where}item_id"
        raise RequestError(f"field '{field}' is missing", f"a {event.event_type} is of an item", field)
    if event.timestamp is None:
        return event.model_copy(update={"timestamp": now})
    if event.timestamp > now + _AHEAD_S:
        field = f"{where}timestamp"
        raise RequestError(f"field '{field}' is {event.timestamp - now:,} s after the predictor's clock",
                           "leave it out, or serve with --clock system", field)  # fmt: skip
    return event


def kept(event: ShopperEvent) -> StoredEvent | None:
    """What is kept of an event; None for a search without an item, which no history holds."""
    if event.item_id is None:
        return None
    assert event.timestamp is not None
    price = math.nan if event.price is None else event.price
    return StoredEvent(event.event_id, event.timestamp, event.item_id, event.event_type, price)
