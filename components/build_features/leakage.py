"""The proof that no feature of a training row saw its own label or anything later."""

from pathlib import Path

import duckdb

from components.shared.errors import DataError
from components.shared.timeline import Timeline


def check_leakage(folder: Path, timeline: Timeline) -> int:
    """Compare every row's newest feature event with its moment, and every split with its window.

    Returns:
        How many rows were checked.

    Raises:
        DataError: a feature was computed from an event at or after its label; names the split and the count.
    """
    checked = 0
    for path in sorted((folder / "rows").glob("*.parquet")):
        count, late = duckdb.execute(
            f"SELECT count(*), count(*) FILTER (WHERE last_event_at >= timestamp) FROM read_parquet('{path}')"
        ).fetchone()
        if late:
            raise DataError(
                f"{path.stem}: {late} of {count} rows use events at or after their label",
                "this is a bug of build_features: report it with the feature configuration",
            )
        checked += count
    newest = duckdb.execute(f"SELECT max(timestamp) FROM read_parquet('{folder}/rows/retriever.parquet')").fetchone()[0]
    if newest >= timeline.retriever_end:
        raise DataError(
            f"a retriever row at {newest} lies after retriever_end {timeline.retriever_end}",
            "this is a bug of build_features: report it with the feature configuration",
        )
    return checked
