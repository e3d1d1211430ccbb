"""Reading from an S3 server: moto's, a real HTTP server on loopback that speaks S3."""

import gzip
import re
import subprocess
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest_events.ingest import IngestOutputs, ingest
from components.shared.errors import InputError

CSV = "user_id,item_id,event_type,timestamp\nu1,i1,view,2026-01-01\nu1,,view,2026-01-01\n"


@pytest.fixture(scope="module")
def endpoint():
    """Address of an empty S3 server."""
    code = "from moto.server import main; main(['-p', '0', '-H', '127.0.0.1'])"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            yield found[0]
            break
    process.terminate()
    process.wait()
    process.stderr.close()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    """The address of a bucket with a gzipped CSV file and a Parquet file; credentials come from the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3").clear_instance_cache()
    store = fsspec.filesystem("s3")
    if not store.exists("shop"):
        store.mkdir("shop")
    store.pipe("shop/events/day=1/a.csv.gz", gzip.compress(CSV.encode()))
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({"user_id": ["u2"], "item_id": ["i2"], "event_type": ["purchase"], "timestamp": ["2026-01-02"]}), sink
    )
    store.pipe("shop/events/day=2/b.parquet", sink.getvalue().to_pybytes())
    return "s3://shop"


def outputs_in(folder):
    return IngestOutputs(**{name: folder / name for name in ("events", "items", "users", "rejected")})


def test_all_files_of_a_bucket_folder_are_read(bucket, tmp_path):
    summary = ingest(f"{bucket}/events", outputs_in(tmp_path))
    assert (summary.events, sum(summary.rejected["events"].values())) == (2, 1)
    users = pq.read_table(tmp_path / "events")["user_id"].to_pylist()
    assert sorted(users) == ["u1", "u2"]


def test_missing_bucket_is_refused_and_leaves_no_output(bucket, tmp_path):
    with pytest.raises(InputError, match="s3://nowhere/events"):
        ingest("s3://nowhere/events", outputs_in(tmp_path))
    assert not list(tmp_path.iterdir())
