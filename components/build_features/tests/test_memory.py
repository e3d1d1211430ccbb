"""The stage's memory on generated data: three times the events may not need three times the memory."""

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
            "COPY (SELECT 'i' || i::VARCHAR AS item_id, 'Item ' || i AS title, ['root', 'leaf ' || (i % 50)] AS "
            "categories, 'brand ' || (i % 90) AS brand, 5.0::DOUBLE AS price, true AS available, "
            "NULL::TIMESTAMPTZ AS created_at, NULL::MAP(VARCHAR, VARCHAR) AS attributes, "
            f"NULL::FLOAT[] AS content_vector FROM range(20000) t(i)) TO '{folder}/items/part.parquet'"
        )


def _peak(folder, events: int) -> int:
    """Peak memory in MB of the stage in a process of its own."""
    _write_shop(folder, events)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BUILD, str(folder)], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return int(done.stdout.rsplit("peak ", 1)[1])


@pytest.mark.slow
def test_three_times_the_events_need_little_more_memory(tmp_path):
    small, large = _peak(tmp_path / "small", 500_000), _peak(tmp_path / "large", 1_500_000)
    assert large < 1.6 * small + 100, f"{small} MB for 0.5 M events, {large} MB for 1.5 M"
    assert large < 3_000
