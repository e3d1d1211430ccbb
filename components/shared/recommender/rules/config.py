"""The file of a merchandiser: rules of searches and recommendations, and fences of all answers."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components.shared.options import KIND, Options, Rate, refused
from components.shared.schema.identifiers import identifier
from components.shared.schema.requests import MAX_K

_ADDRESS = re.compile(r"(https?://[^\s/]+|/(?!/))\S*")
_MAX_NAMES, _MAX_RULES = 1_000, 10_000


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise refused(f"'{text}' is no date", "write 2026-06-01, or 2026-06-01T08:00:00+08:00") from error
    return text


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise refused(f"'{text}' is no address", "write a path such as /sale, or an address of http or https")
    return text


Text = Annotated[str, Field(min_length=1, max_length=512)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=_MAX_NAMES)]
ItemId = Annotated[Text, BeforeValidator(identifier)]
Moment = Annotated[str, AfterValidator(_moment)]
"""A date, or a time in ISO 8601; without a zone in UTC."""


class Selector(Options):
    """Which items an action is about: those to which all of it applies."""

    items: Annotated[tuple[ItemId, ...], Field(max_length=_MAX_NAMES)] = ()
    """Item ids."""
    brands: Annotated[tuple[Text, ...], Field(max_length=_MAX_NAMES)] = ()
    """Brands, any of them; case does not matter."""
    categories: Annotated[tuple[Text, ...], Field(max_length=_MAX_NAMES)] = ()
    """Categories, any of them, of any level of an item's path; case does not matter."""
    attributes: dict[Text, Texts] = Field(default_factory=dict)
    """Attribute -> values, any of them; several attributes must all apply. Case does not matter."""
    price_min: Rate | None = None
    """Lowest price; an unknown price is none."""
    price_max: Rate | None = None
    """Highest price; an unknown price is none."""

    @model_validator(mode="after")
    def _selects(self) -> Self:
        names = Selector.model_fields
        if not any(getattr(self, name) not in ((), None, {}) for name in names):
            raise refused("no items are selected", f"give at least one of: {', '.join(names)}")
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise refused("price_min is above price_max", "exchange them")
        return self


class Boost(Selector):
    """Raise items among those that fit the request as well; none gets above items that fit it better."""

    kind: Literal["boost"] = "boost"
    factor: Annotated[float, Field(gt=1, le=1_000)] = 2.0
    """Factor of the score."""


class Bury(Selector):
    """Lower items among those that fit the request as well."""

    kind: Literal["bury"] = "bury"
    factor: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Factor of the score; 0 puts them last."""


class Hide(Selector):
    """Do not answer items."""

    kind: Literal["hide"] = "hide"


class Filter(Selector):
    """Answer only these items."""

    kind: Literal["filter"] = "filter"


class Pin(Options):
    """Put items at fixed positions, whether or not they fit the request, if its filters leave them."""

    kind: Literal["pin"] = "pin"
    items: Annotated[tuple[ItemId, ...], Field(min_length=1, max_length=MAX_K)]
    """Item ids, in order."""
    position: Annotated[int, Field(ge=1, le=MAX_K)] = 1
    """Position of the first of them; the others follow."""


class Redirect(Options):
    """Tell the frontend to open a page; the items are answered as well."""

    kind: Literal["redirect"] = "redirect"
    to: Annotated[str, Field(max_length=2_000), AfterValidator(_address)]
    """A path, such as /sale, or an address of http or https."""


Action = Annotated[Boost | Bury | Hide | Filter | Pin | Redirect, KIND]


class WhenQuery(Options):
    """Queries by their words: case, plural, accents and corrected letters do not matter, nor prices in the query.

    Synonyms are other words: give them too.
    """

    kind: Literal["query"] = "query"
    match: Literal["is", "contains", "words"] = "is"
    """Whether a text is the whole query, stands in it as it is, or has all its words in it in any order."""
    texts: Texts
    """Texts, of which one suffices."""


class WhenCategory(Options):
    """Requests whose filter, or whose query, names a category."""

    kind: Literal["category"] = "category"
    names: Texts
    """Categories, of which one suffices; case does not matter."""


class WhenAnyQuery(Options):
    """Every search."""

    kind: Literal["any_query"] = "any_query"


class WhenRecommendation(Options):
    """Every request without a query, also those for similar items and for what is bought with others."""

    kind: Literal["recommendation"] = "recommendation"


class WhenAlways(Options):
    """Every request."""

    kind: Literal["always"] = "always"


When = Annotated[WhenQuery | WhenCategory | WhenAnyQuery | WhenRecommendation | WhenAlways, KIND]


class Rule(Options):
    """What happens to some requests."""

    name: Text
    """Name, which the answers and the metrics tell."""
    when: When
    """Which requests."""
    valid_from: Annotated[Moment | None, Field(alias="from")] = None
    """First day, or moment, at which the rule applies. Days are those of UTC; write 2026-06-01T00:00:00+08:00 for
    another zone."""
    until: Moment | None = None
    """Last day, which is included, or the moment from which the rule no longer applies."""
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=100)]
    """What happens."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.period
        if low >= high:
            raise refused(f"from {self.valid_from} until {self.until} is no time", "give a later 'until'")
        if isinstance(self.when, WhenRecommendation | WhenAlways) and any(map(_redirects, self.actions)):
            raise refused(f"a redirect at every '{self.when.kind}'", "redirect only when kind is query, category or "
                          "any_query")  # fmt: skip
        return self

    @property
    def period(self) -> tuple[float, float]:
        """Epoch seconds at which the rule begins and ends to apply."""
        low = -float("inf") if self.valid_from is None else _seconds(self.valid_from)
        high = float("inf") if self.until is None else _seconds(self.until, end=True)
        return low, high


def _redirects(action: Action) -> bool:
    return isinstance(action, Redirect)


def _seconds(text: str, end: bool = False) -> float:
    if _is_date(text):
        day = date.fromisoformat(text) + timedelta(days=end)
        return datetime.combine(day, time(), UTC).timestamp()
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


class Fences(Options):
    """What no answer shows, whatever was asked."""

    unavailable: bool = True
    """Whether a request can ask for unavailable items, with filters.available: false."""
    without_price: bool = True
    """Whether items without a price are answered."""
    price_min: Rate | None = None
    """Lowest price of an answered item."""
    price_max: Rate | None = None
    """Highest price of an answered item."""
    price_ratio: Annotated[float, Field(gt=1)] | None = None
    """Of the items that fit a query equally well, those whose price is more than this many times the median of the
    best 20, or less than that part of it, come last. It does not count when the query names a price. None: off."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise refused("price_min is above price_max", "exchange them")
        return self


class Merchandising(Options):
    """A file of rules."""

    fences: Fences = Fences()
    """What no answer shows."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=_MAX_RULES)] = ()
    """Rules. All that apply act; where two want the same position or redirect, the first of the file."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for name, count in Counter(rule.name for rule in self.rules).items():
            if count > 1:
                raise refused(f"{count} rules are called '{name}'", "give each rule its own name")
        return self

    def selectors(self) -> Iterator[tuple[Rule, Selector]]:
        """Every action that selects items, with its rule."""
        for rule in self.rules:
            for action in rule.actions:
                if isinstance(action, Selector):
                    yield rule, action
