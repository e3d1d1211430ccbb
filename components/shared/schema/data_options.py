"""Options of the data: where the tables lie beside the events, and which of their columns are ours."""

from typing import Any, Self

from pydantic import Field, model_validator

from components.shared.errors import InputError
from components.shared.options import Options, refused
from components.shared.schema.mapping import parse_mapping


class DataOptions(Options):
    """What is read: by ingest_events, and by validate_data to compare with."""

    mapping: dict[str, Any] = Field(default_factory=dict)
    """Our column -> theirs, such as {"user_id": "visitor", "items.title": "name", "event_types": {"addtocart":
    "cart"}}; {}: the columns have our names."""
    items_source: str = ""
    """File, folder or URI of the catalog; empty: the items that the events name."""
    users_source: str = ""
    """File, folder or URI of the users; empty: the users that the events name."""
    previous_statistics: str = ""
    """Statistics of an earlier run to compare sizes with; empty: none."""

    @model_validator(mode="after")
    def _mapping_names_our_columns(self) -> Self:
        try:
            parse_mapping(self.mapping)
        except InputError as error:
            raise refused(error.headline, error.fix) from error
        return self
