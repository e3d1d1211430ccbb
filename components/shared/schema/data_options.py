"""Options of the data: locations of items and users, and the column mapping."""

from typing import Any, Self

from pydantic import Field, model_validator

from components.shared.errors import InputError
from components.shared.options import Options, refused
from components.shared.schema.mapping import parse_mapping


class DataOptions(Options):
    """Options of ingest_events and validate_data."""

    mapping: dict[str, Any] = Field(default_factory=dict)
    """Our column -> theirs, such as {"user_id": "visitor", "items.title": "name", "event_types": {"addtocart":
    "cart"}}; {}: no renaming."""
    items_source: str = ""
    """File, folder or URI of the catalog; empty: the items in the events."""
    users_source: str = ""
    """File, folder or URI of the users; empty: the users in the events."""
    previous_statistics: str = ""
    """Statistics of an earlier run for comparing sizes; empty: none."""

    @model_validator(mode="after")
    def _mapping_names_our_columns(self) -> Self:
        try:
            parse_mapping(self.mapping)
        except InputError as error:
            raise refused(error.headline, error.fix) from error
        return self
