"""Checks that features of training rows only use events before the label."""

from pathlib import Path

import duckdb

from components.build_features.queries import literal, only_row
from components.shared.cgroup import usable_cpus
from components.shared.errors import DataError
from components.shared.features.rows import RATINGS
from components.shared.schema.timeline import Timeline

_FIX = "this is a bug of build_features: report it with the feature configuration"


def check_leakage(folder: Path, timeline: Timeline) -> int:
    """Check that every row's newest feature event is before its time, and that rows are within their split's window.

    Returns:
        Number of rows checked.

    Raises:
        DataError: a feature was computed from an event at or after its label, or a row is outside its split's
            window; names the split and the count.
    """
    reference_times, checked = timeline.reference_times(), 0
    with duckdb.connect(config={"threads": usable_cpus()}) as database:
        for path in sorted((folder / "rows").glob("*.parquet")):
            as_of = reference_times.get(path.stem.removeprefix(f"{RATINGS}-"))
            window = f"< {timeline.retriever_end}" if as_of is None else f"= {as_of}"
            rows, late, outside = only_row(
                database,
                "SELECT count(*), count(*) FILTER (WHERE last_event_at >= timestamp), "
                f"count(*) FILTER (WHERE NOT timestamp {window}) FROM read_parquet({literal(path)})",
            )
            if late:
                raise DataError(f"{path.stem}: {late} of {rows} rows use events at or after their label", _FIX)
            if outside:
                raise DataError(f"{path.stem}: {outside} of {rows} rows are outside the split's window", _FIX)
            checked += rows
    return checked
