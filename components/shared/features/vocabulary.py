"""Row numbers of shoppers and tokens, as assigned by build_features."""

from pathlib import Path

import pyarrow.parquet as pq


def read_users(path: Path) -> dict[str, int]:
    """Index of every shopper in the history store."""
    table = pq.read_table(path)
    return dict(zip(table["user_id"].to_pylist(), table["row"].to_pylist(), strict=True))


QUERIES = "queries.parquet"
"""Queries of at least two shoppers with their number of searches, if events have queries."""


def read_queries(folder: Path) -> dict[str, float]:
    """Number of searches by query, most first; {} for a folder of a shop without queries."""
    if not (folder / QUERIES).exists():
        return {}
    table = pq.read_table(folder / QUERIES)
    return dict(zip(table["query"].to_pylist(), table["searches"].to_pylist(), strict=True))


def read_tokens(path: Path) -> dict[str, int]:
    """Row of every token of the title vocabulary."""
    table = pq.read_table(path)
    return dict(zip(table["value"].to_pylist(), table["row"].to_pylist(), strict=True))
