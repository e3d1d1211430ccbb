"""Peak memory of the stage on generated data: rows are streamed, so that an event costs a few hundred bytes."""

import subprocess
import sys

import duckdb
import pytest

_BUILD = """
import resource, sys
from pathlib import Path
from components.build_features.build import FeatureOptions, build
folder = Path(sys.argv[1])
build(folder / "events", folder / "items", folder / "features", FeatureOptions())
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def _write_shop(folder, events: int) -> None:
    """A year of purchases: a few popular items, a long tail, shoppers with a few hundred events each."""
    (folder / "events").mkdir(parents=True)
    (folder / "items").mkdir()
    with duckdb.connect() as database:
        database.execute("SELECT setseed(0.5)")
        database.execute(
            f"COPY (SELECT 'u' || (hash(i) % {events // 250})::VARCHAR AS user_id, "
            "'i' || floor(20000 * pow(random(), 3))::INT::VARCHAR AS item_id, 'purchase' AS event_type, "
            f"make_timestamptz(2025, 1, 1, 0, 0, 0.0) + INTERVAL 1 SECOND * (i * 31536000.0 / {events}) AS timestamp, "
            "NULL::VARCHAR AS query, NULL::VARCHAR AS session_id, 1.0::DOUBLE AS quantity, "
            "(1 + 9 * random())::DOUBLE AS price, NULL::VARCHAR AS request_id, NULL::FLOAT AS rating "
            f"FROM range({events}) t(i)) TO '{folder}/events/part.parquet'"
        )
        database.execute(
            "COPY (SELECT 'i' || i::VARCHAR AS item_id, 'Item ' || i AS title, NULL::VARCHAR AS description, ['root', 'leaf ' || (i % 50)] AS "
            "categories, 'brand ' || (i % 90) AS brand, 5.0::DOUBLE AS price, true AS available, "
            "NULL::TIMESTAMPTZ AS created_at, NULL::MAP(VARCHAR, VARCHAR) AS attributes, "
            f"NULL::FLOAT[] AS content_vector FROM range(20000) t(i)) TO '{folder}/items/part.parquet'"
        )


def _peak(folder, events: int) -> int:
    """Peak memory in MB of the stage in its own process."""
    _write_shop(folder, events)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BUILD, str(folder)], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return int(done.stdout.rsplit("peak ", 1)[1])


@pytest.mark.slow
def test_memory_per_event_is_a_few_hundred_bytes(tmp_path):
    few, many = 200_000, 600_000
    small, large = _peak(tmp_path / "small", few), _peak(tmp_path / "large", many)
    per_event = (large - small) * 2**20 / (many - few)
    # Measured: 170 to 210, at 1.5 million events too; 456 if all written rows are kept in memory.
    assert per_event < 320, f"{small} MB for {few:,} events, {large} MB for {many:,}: {per_event:.0f} bytes an event"
