"""Helpers that ingest a small source into a folder and read the outputs."""

from pathlib import Path

import pyarrow.parquet as pq

from components.ingest_events.ingest import IngestOutputs, IngestSummary, ingest
from components.shared.schema.tables import EVENTS, ITEMS, USERS

FOUNDING = """user,item,event,time
1,1001,search,2021-01-01 10:00
1,1002,view,2021-01-01 10:05
1,1003,purchase,2021-01-01 10:10
2,1004,search,2021-01-02 10:00
2,1005,view,2021-01-02 10:05
2,1006,purchase,2021-01-02 10:10
"""
FOUNDING_MAPPING = {"user_id": "user", "item_id": "item", "event_type": "event", "timestamp": "time"}
HEADER = "user_id,item_id,event_type,timestamp,query,quantity,price\n"
GOOD = "u1,i1,view,2026-01-01T10:00:00Z,,,\n"


def outputs_in(folder: Path) -> IngestOutputs:
    return IngestOutputs(
        events=folder / "events", items=folder / "items", users=folder / "users", rejected=folder / "rejected"
    )


def read(folder: Path, table: str = "events") -> list[dict]:
    schema = {"events": EVENTS, "items": ITEMS, "users": USERS}[table]
    files = sorted((folder / table).rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().select(schema.names).to_pylist()]


def rejected(folder: Path) -> list[dict]:
    return pq.read_table(folder / "rejected" / "part-0.parquet").to_pylist()


def ingest_text(folder: Path, text: str | bytes, name: str = "events.csv", **options) -> IngestSummary:
    source = folder / "source" / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ingest(str(source), outputs_in(folder / "out"), **options)


def assert_nothing_written(folder: Path) -> None:
    assert not folder.exists() or list(folder.iterdir()) == []
