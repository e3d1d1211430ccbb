"""Texts of items by field, as they are indexed."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH = 4_096
_AFFIRMED = {"y", "yes", "true", "1", "✓", "是"}
_DENIED = {"n", "no", "false", "0", "none", "-", "", "否"}


class Field(IntFlag):
    """Fields of an item as flags."""

    TITLE = 1
    BRAND = 2
    CATEGORY = 4
    ATTRIBUTES = 8
    DESCRIPTION = 16


@dataclass(frozen=True)
class Document:
    """What is known of one item.

    Attributes:
        item_id: Its id. title, brand, description: Texts, '' if there is none.
        categories: Path of categories, root first.
        attributes: Names with values.
    """

    item_id: str
    title: str = ""
    brand: str = ""
    categories: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    description: str = ""

    def parts(self, field: Field) -> tuple[str, ...]:
        """Texts of one field: each level of the categories, each attribute."""
        match field:
            case Field.CATEGORY:
                found = self.categories
            case Field.ATTRIBUTES:
                found = tuple(stated(*attribute) for attribute in self.attributes)
            case _:
                found = (getattr(self, str(field.name).lower()),)
        return tuple(filter(None, found))

    def text(self, field: Field) -> str:
        """Text of one field."""
        return (" / " if field is Field.CATEGORY else " · ").join(self.parts(field))


def read_documents(table: Path | pa.Table) -> Iterator[Document]:
    """Read the documents of an items table, in its order; columns that it lacks are empty texts.

    Args:
        table: Columns of schema.ITEMS, or `items.parquet` of a model, or its path.
    """
    source = pq.ParquetFile(table) if isinstance(table, Path) else None
    names = ["item_id", "title", "brand", "categories", "attributes", "description"]
    held = source.schema_arrow.names if source else table.column_names  # pyright: ignore[reportAttributeAccessIssue]
    wanted = [name for name in names if name in held]
    batches = (
        source.iter_batches(_BATCH, columns=wanted) if source
        else table.select(wanted).to_batches(_BATCH)  # pyright: ignore[reportAttributeAccessIssue]
    )  # fmt: skip
    for batch in batches:
        for row in batch.to_pylist():
            title = row.get("title") or ""
            yield Document(
                item_id=row["item_id"],
                # build_features gives an untitled item its id as the title.
                title="" if title == row["item_id"] else title,
                brand=row.get("brand") or "",
                categories=tuple(row.get("categories") or ()),
                attributes=tuple((name, value or "") for name, value in row.get("attributes") or ()),
                description=row.get("description") or "",
            )


def stated(name: str, value: str) -> str:
    """What an attribute says of an item: its value, its name if the value is yes, nothing if it is no.

    >>> stated("colour", "red"), stated("waterproof", "Y"), stated("waterproof", "N")
    ('red', 'waterproof', '')
    """
    folded = value.strip().casefold()
    if folded in _AFFIRMED:
        return name
    return "" if folded in _DENIED else value
