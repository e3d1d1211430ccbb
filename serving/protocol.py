"""Request and response formats: parses requests to `Instance`, converts answers to V1 objects or V2 columns.

Validation by pydantic is strict: no string becomes a number, unknown fields are rejected; errors name the field.
"""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from components.shared.errors import InputError
from components.shared.schema.identifiers import identifier
from components.shared.schema.requests import MAX_K

MAX_INSTANCES = 64
"""Maximum number of instances in one HTTP or gRPC request."""
MAX_QUERY = 10_000
MAX_LIST = 5_000
"""Maximum length of history and exclude."""
RELATIONS = ("similar_to", "bought_with", "more_like")
"""Fields that ask for items related to others; a request has one of them."""
MAX_FACETS = 20
"""Maximum number of facets of one instance."""
MAX_CURSOR = 20_000
_LATEST = 4_102_444_800
"""Epoch seconds of the year 2100; larger values are probably milliseconds."""


class RequestError(InputError):
    """An invalid request; `field` is the name of the invalid field, '' for the whole request."""

    def __init__(self, headline: str, fix: str, field: str = ""):
        super().__init__(headline, fix)
        self.field = field


def _whole_text(value: str) -> str:
    """Reject lone surrogates, which JSON can encode but UTF-8 cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("contains a lone surrogate, which is not a valid character") from error
    return value


def _epoch(value: object) -> object:
    """Epoch seconds from a number or an ISO 8601 string (UTC if it has no time zone)."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("should be epoch seconds or an ISO 8601 time such as 2026-11-23T12:00:00Z") from error
    return int((time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp())


Text = Annotated[str, Field(max_length=512), AfterValidator(_whole_text)]
Identifier = Annotated[Text, BeforeValidator(identifier)]
"""An id in the form of ingest_events: 10, 10.0 and " 10 " are "10"."""
Moment = Annotated[int, BeforeValidator(_epoch), Field(ge=0, le=_LATEST)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """Strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Filters(_Part):
    """Filters of the answered items; all given filters must match."""

    available: bool = True
    """False also allows items that are currently unavailable."""
    price_min: Price | None = None
    price_max: Price | None = None
    categories: list[Text] = Field(default=[], max_length=100)
    """Category names, matched case-insensitively with any element of an item's category path."""
    brands: list[Text] = Field(default=[], max_length=100)
    attributes: dict[Text, list[Text]] = Field(default={}, max_length=20)
    """Values by attribute, both matched case-insensitively; one value of every attribute must match."""

    @model_validator(mode="after")
    def _ordered(self) -> "Filters":
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError("price_min is above price_max")
        return self


class Event(_Part):
    """One event of an inline history."""

    item_id: Identifier
    event_type: Literal["search", "impression", "view", "cart", "purchase"]
    timestamp: Moment
    price: Price | None = None


class Context(_Part):
    """Context of the instance."""

    timestamp: Moment | None = None


class Instance(_Part):
    """One instance of a request to the predictor."""

    user_id: Identifier | None = None
    query: Annotated[str, Field(max_length=MAX_QUERY), AfterValidator(_whole_text)] | None = None
    k: int = Field(default=10, ge=1, le=MAX_K)
    filters: Filters = Filters()
    context: Context = Context()
    history: list[Event] | None = Field(default=None, max_length=MAX_LIST)
    """Replaces the stored history of the user; [] means a shopper without events."""
    exclude: list[Identifier] = Field(default=[], max_length=MAX_LIST)
    verbatim: bool = False
    """Whether `query` is searched as it is written: nothing is corrected, left out or read as a price."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much variety counts beside the score, within what fits equally well; 0: not at all."""
    similar_to: Identifier | None = None
    """Item whose likes are answered, to every shopper the same."""
    bought_with: list[Identifier] = Field(default=[], max_length=100)
    """Items whose buyers' other items are answered, to every shopper the same."""
    more_like: Identifier | None = None
    """Item that the items of the query, or of the shopper, should be like."""

    @field_validator("similar_to", "bought_with", "more_like")
    @classmethod
    def _alone(cls, value: object, info: ValidationInfo) -> object:
        """Each asks for other items; only `more_like` also orders those of a query."""
        others = [name for name in RELATIONS if info.data.get(name)]
        if value and others:
            raise ValueError(f"give it without {others[0]}")
        if value and info.data.get("query") and info.field_name != "more_like":
            raise ValueError("give it without a query, or the query with more_like")
        return value

    facets: list[Text] = Field(default=[], max_length=MAX_FACETS)
    """What to count the whole result by: category, brand, price, or names of attributes."""
    sort: Literal["relevance", "price", "-price", "newest", "popular"] = "relevance"
    """Order of the items; other orders than relevance are of the items that match the query as it was asked."""
    cursor: str = Field(default="", max_length=MAX_CURSOR)
    """The field `cursor` of the previous page's answer; '' for the first page."""
    suggest: Text | None = None
    """What a shopper has typed so far: the answer has `k` suggestions and no items."""


def parse_instance(raw: object, where: str = "") -> Instance:
    """Validate one request.

    Args:
        raw: Decoded JSON.
        where: Prefix of field names, such as 'instances[3].'.

    Raises:
        RequestError: the message names the field, the given value and the allowed values.
    """
    if not isinstance(raw, dict):
        name = where.rstrip(".") or "request"
        raise RequestError(f"{name} is {shown(raw)}, not an object", "send {} or {'user_id': ...}", name)
    try:
        return Instance.model_validate(raw)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_context=False)[0], where) from error


def parse_v1(body: object) -> list[Instance]:
    """Validate a V1 body: {"instances": [request, ...]}.

    Raises:
        RequestError: the body has another structure, or a request is invalid.
    """
    if not isinstance(body, dict) or set(body) - {"instances", "parameters"} or "instances" not in body:
        raise RequestError("the body is not {'instances': [...]}", "send {'instances': [{'user_id': ..., 'k': 10}]}")
    instances = body["instances"]
    if not isinstance(instances, list):
        raise RequestError(f"instances is {shown(instances)}, not a list", "send a list of requests", "instances")
    _check_count(len(instances), "instances")
    return [parse_instance(one, f"instances[{position}].") for position, one in enumerate(instances)]


def decode_json(body: bytes, charset: str = "utf-8") -> object:
    """Decode JSON from bytes in the given charset; NaN and Infinity, which are not JSON, are rejected.

    Raises:
        RequestError: the charset is unknown, or the body is not valid JSON in it.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(body.decode(charset), parse_constant=refuse)
    except LookupError as error:
        raise RequestError(f"charset '{charset}' is unknown", "send UTF-8", "content-type") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", "send one JSON object in UTF-8") from error


V2_INPUTS = {
    "user_id": "BYTES", "query": "BYTES", "k": "INT64", "timestamp": "INT64",
    "filters": "BYTES", "history": "BYTES", "exclude": "BYTES", "verbatim": "BOOL",
    "diversity": "FP32", "similar_to": "BYTES", "bought_with": "BYTES", "more_like": "BYTES",
    "facets": "BYTES", "sort": "BYTES", "cursor": "BYTES", "suggest": "BYTES",
}  # fmt: skip
"""V2 input tensors, shape [n] or [n, 1] each, one row per request. filters, history, exclude, bought_with and
facets are JSON strings."""
_JSON_INPUTS = ("filters", "history", "exclude", "bought_with", "facets")


def parse_v2(columns: Mapping[str, Sequence[Any]]) -> list[Instance]:
    """Validate V2 inputs, given as a list of values per tensor name.

    A tensor with one value applies to all rows; an empty string means that the field is not given.

    Raises:
        RequestError: a tensor is unknown or missing, lengths differ, or a value is invalid.
    """
    for name in columns:
        if name not in V2_INPUTS:
            raise RequestError(f"unknown input '{name}'", f"the inputs are: {', '.join(V2_INPUTS)}", name)
    rows = max((len(values) for values in columns.values()), default=0)
    _check_count(rows, "inputs")
    for name, values in columns.items():
        if len(values) not in (1, rows):
            raise RequestError(f"input '{name}' has {len(values)} values", f"send 1 or {rows} values", name)
    requests = []
    for row in range(rows):
        raw: dict[str, Any] = {}
        for name, values in columns.items():
            _set_field(raw, name, values[0] if len(values) == 1 else values[row])
        requests.append(parse_instance(raw, f"rows[{row}]." if rows > 1 else ""))
    return requests


def _set_field(raw: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(f"input '{name}' is not UTF-8", "encode strings in UTF-8", name) from error
    if value == "":
        return
    if name in _JSON_INPUTS:
        if not isinstance(value, str):
            raise RequestError(f"input '{name}' is {shown(value)}", "send JSON strings in a BYTES tensor", name)
        value = decode_json(value.encode("utf-8", "surrogatepass"))
    if name == "timestamp":
        raw["context"] = {"timestamp": value}
    else:
        raw[name] = value


def _check_count(count: int, field: str) -> None:
    if not 1 <= count <= MAX_INSTANCES:
        raise RequestError(f"{field} has {count} requests", f"send 1 to {MAX_INSTANCES} per call", field)


def refusal(error: Any, where: str, whole: "type[BaseModel] | None" = None) -> RequestError:
    """Convert a pydantic error of an `Instance`, or of another `whole`."""
    field = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        owner: type[BaseModel] = {"filters": Filters, "context": Context, "history": Event}.get(
            error["loc"][0], Instance
        )
        owner = owner if len(error["loc"]) > 1 and whole is None else whole or Instance
        return RequestError(f"unknown field '{field}'", f"the fields are: {', '.join(owner.model_fields)}", field)
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return RequestError(f"field '{field}' is {shown(error['input'])}", message, field)


def shown(value: object) -> str:
    """A value, shortened and escaped for a message."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
