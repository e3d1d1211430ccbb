"""Content vectors of the items table: checks that all have the same width and are finite."""

import duckdb

from components.build_features.queries import only_row
from components.shared.errors import DataError
from components.shared.features.content import CONTENT_COLUMN


def content_width(database: duckdb.DuckDBPyConnection) -> int:
    """Width of the vectors of table `items`; 0 if no item has one. Null and empty vectors count as missing.

    Raises:
        DataError: a vector has another width than most or a value that is not finite; names the item.
    """
    columns = [name for (name,) in database.execute("SELECT column_name FROM (DESCRIBE items)").fetchall()]
    if CONTENT_COLUMN not in columns:
        return 0
    widths = database.execute(
        f"SELECT len({CONTENT_COLUMN}) AS width, count(*) AS items, min(item_id) FROM items WHERE width > 0 "
        "GROUP BY width ORDER BY items DESC, width"
    ).fetchall()
    if not widths:
        return 0
    width, most, _ = widths[0]
    for odd, _, item in widths[1:]:
        raise DataError(
            f"items.{CONTENT_COLUMN}: item '{item}' has {odd} numbers, most ({most:,} items) have {width}",
            "embed every item with the same model, or leave the column of this item null",
        )
    (item,) = only_row(
        database,
        f"SELECT min(item_id) FROM items WHERE len(list_filter({CONTENT_COLUMN}, "
        "lambda x: x IS NULL OR NOT isfinite(x))) > 0",
    )
    if item is not None:
        raise DataError(
            f"items.{CONTENT_COLUMN}: item '{item}' has a value that is not a finite number",
            "embed this item again, or leave its column null; ingest_events rejects such rows",
        )
    return int(width)
