"""Options of the data: locations of items and users, the column mapping, thresholds of the validation."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from components.shared.errors import InputError
from components.shared.options import Count, Fraction, Limit, Options, Rate, refused
from components.shared.schema.event_words import event_words
from components.shared.schema.identifiers import NULL_WORDS
from components.shared.schema.mapping import parse_mapping
from components.shared.schema.presets import PRESETS, Preset, over, preset

TIME_LETTERS = "aAbBcdfgGhHIjmMnpSTuUVwWxXyYzZ%"
"""Letters after % that DuckDB's strptime knows."""
UNPADDED_LETTERS = "dHIjmMSy"
"""Those that it also knows after %-."""
_KNOWN_LETTER = re.compile(rf"%([{TIME_LETTERS}]|-[{UNPADDED_LETTERS}])")


class ValidationOptions(Options):
    """Thresholds of warnings and errors in validate_data. Shares are between 0 and 1."""

    previous_statistics: str = ""
    """Statistics of an earlier run (statistics.json or its folder) for comparing sizes; empty: none."""
    clock_skew_hours: Rate = 24.0
    """Hours that a timestamp may be ahead of the current time, because clocks and time zones of shops differ."""
    future_error: Fraction = 0.001
    """Share of events in the future that is an error; any smaller share is a warning."""
    min_events: Count = 2
    """Fewer events are an error."""
    min_users: Count = 2
    """Fewer users are an error."""
    min_items: Count = 2
    """Fewer items are an error."""
    min_days: Count = 2
    """Events on fewer days are a warning; all events at the same time are an error, because splits are by time."""
    null_warning: Fraction = 0.5
    """Share of nulls in a useful column (price, title, ...) that is a warning."""
    max_price: Limit = 1_000_000.0
    """Higher prices are a warning; in the shop's currency."""
    max_quantity: Limit = 100_000.0
    """Higher quantities of one event are a warning; in units, grams or millilitres."""
    duplicate_warning: Fraction = 0.01
    """Share of events that repeat another one in every column that is a warning."""
    duplicate_error: Fraction = 0.5
    """Share of repeated events that is an error: the source was probably read more than once."""
    orphan_warning: Fraction = 0.01
    """Share of events whose item is not in the catalog that is a warning."""
    orphan_error: Fraction = 0.2
    """Share of events whose item is not in the catalog that is an error."""
    rejected_warning: Fraction = 0.01
    """Share of event rows rejected by ingest_events that is a warning."""
    rejected_error: Fraction = 0.2
    """Share of rejected event rows that is an error."""
    shrink_warning: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A table is a warning if it shrinks below this multiple of its rows in the earlier run or grows above 1 / this."""
    shrink_error: Fraction = 0.1
    """A table is an error if it shrinks below this multiple of its rows in the earlier run."""

    @model_validator(mode="after")
    def _warnings_come_before_errors(self) -> Self:
        for name in ("duplicate", "orphan", "rejected"):
            warning, error = getattr(self, f"{name}_warning"), getattr(self, f"{name}_error")
            if warning > error:
                raise refused(
                    f"{name}_warning is {warning}, above {name}_error, {error}", "give a warning below the error"
                )
        if self.shrink_warning < self.shrink_error:
            raise refused(
                f"shrink_warning is {self.shrink_warning}, below shrink_error, {self.shrink_error}",
                "give a higher one",
            )
        return self


class DataOptions(Options):
    """Options of ingest_events and validate_data."""

    mapping: dict[str, Any] = Field(default_factory=dict)
    """Contract column -> source column, such as {"user_id": "visitor", "items.title": "name", "event_types":
    {"addtocart": "cart"}}; {}: no renaming."""
    preset: str = ""
    """Mapping and columns of a public form of data: ga4, otto, retailrocket, shopify-orders, taobao-userbehavior; the
    mapping and columns given beside it take precedence. Empty: none."""
    items_source: str = ""
    """File, folder or URI of the catalog; empty: the items in the events."""
    users_source: str = ""
    """File, folder or URI of the users; empty: the users in the events."""
    guess_types: bool = False
    """Whether usual words for event types, such as `add_to_cart`, `pv` and `order`, are read as what they mean."""
    columns: list[str] = Field(default_factory=list)
    """Names of the columns of CSV files of events without a header, "" for unused ones; []: they have a header."""
    time_format: str = ""
    """Format of times that are neither ISO 8601 nor an epoch, such as "%d/%m/%Y %H:%M"; strptime's letters."""
    null_words: list[str] = Field(default_factory=lambda: list(NULL_WORDS))
    """Words for a missing id, number or time, without case."""
    validation: ValidationOptions = ValidationOptions()
    """Thresholds of validate_data."""

    def full_mapping(self) -> dict[str, Any]:
        """The mapping, after that of the preset and, if they are to be guessed, usual words for event types."""
        guessed = {"event_types": event_words()} if self.guess_types else {}
        return over(over(guessed, self._preset.mapping), self.mapping)

    def all_columns(self) -> tuple[str, ...]:
        """`columns`, or else those of the preset."""
        return tuple(self.columns) or self._preset.columns

    @property
    def _preset(self) -> Preset:
        return preset(self.preset) if self.preset else Preset()

    @field_validator("preset")
    @classmethod
    def _preset_is_known(cls, value: str) -> str:
        if value and value not in PRESETS:
            raise refused(f"preset is {value!r}", f"give one of: {', '.join(PRESETS)}")
        return value

    @field_validator("time_format")
    @classmethod
    def _format_has_letters(cls, value: str) -> str:
        if value and "%" not in value:
            raise refused(f"time_format is {value!r}", "give strptime's letters, such as %d/%m/%Y %H:%M")
        # What is left after the known letters: %%Q is a percent sign and a Q.
        unknown = re.search(r"%-?.?", _KNOWN_LETTER.sub("", value), re.DOTALL)
        if unknown:
            raise refused(
                f"time_format is {value!r}, of which {unknown[0]!r} is not known",
                f"use % with one of {' '.join(TIME_LETTERS)}, or %- with one of {' '.join(UNPADDED_LETTERS)}",
            )
        return value

    @model_validator(mode="after")
    def _mapping_names_our_columns(self) -> Self:
        try:
            parse_mapping(self.mapping)
        except InputError as error:
            raise refused(error.headline, error.fix) from error
        return self
