"""Row numbers of shoppers and tokens, as assigned by build_features."""

from pathlib import Path

import pyarrow.parquet as pq


def read_users(path: Path) -> dict[str, int]:
    """Index of every shopper in the history store."""
    table = pq.read_table(path)
    return dict(zip(table["user_id"].to_pylist(), table["row"].to_pylist(), strict=True))


def read_tokens(path: Path) -> dict[str, int]:
    """Row of every token of the title vocabulary."""
    table = pq.read_table(path)
    return dict(zip(table["value"].to_pylist(), table["row"].to_pylist(), strict=True))
