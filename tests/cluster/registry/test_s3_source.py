"""Ingestion from a real S3 server: many keys, odd keys, keys that vanish, and a server that has too much to do."""

import contextlib
import http.client
import io
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import botocore.session
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from components.ingest_events.ingest import ingest
from components.ingest_events.tests.ingesting import assert_nothing_written, outputs_in, read
from components.shared.errors import InputError
from tests.cluster.faulty_http import FaultyHttp

HEADER = "user_id,item_id,event_type,timestamp\n"


def event(user):
    return f"{HEADER}{user},a,view,2024-03-01\n".encode()


@pytest.fixture
def store(bucket):
    """A client of the server itself."""
    return botocore.session.get_session().create_client("s3")


@pytest.fixture
def four(bucket, store):
    """URI of a folder with four files of one event each, a.csv to d.csv."""
    for name in "abcd":
        store.put_object(Bucket=bucket, Key=f"shop/{name}.csv", Body=event(name))
    return f"s3://{bucket}/shop"


@pytest.fixture
def through(s3_server, store, monkeypatch):
    """A function that puts a proxy with this fault before the server, and returns it."""

    def start(fault):
        proxy = stack.enter_context(FaultyHttp(s3_server.port, fault))
        for name, value in s3_server.environment(proxy.port).items():
            monkeypatch.setenv(name, value)
        return proxy

    with contextlib.ExitStack() as stack:
        yield start


def put_all(server, bucket, objects):
    """Put objects with little more than the requests themselves: botocore's client takes ten times as long."""
    signer = S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", "us-east-1")

    def put(some):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for key, content in some:
            path = f"/{bucket}/{quote(key)}"
            request = AWSRequest("PUT", f"http://127.0.0.1:{server.port}{path}", data=content)
            signer.add_auth(request)
            connection.request("PUT", path, content, dict(request.headers))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [objects[start::8] for start in range(8)]))


def slow_down(times, method, part):
    """A fault that answers the first `times` such requests with 503."""
    left = [times]

    def fault(asked, path):
        if asked != method or part not in path or not left[0]:
            return None
        left[0] -= 1
        return 503

    return fault


@pytest.mark.slow
def test_ten_thousand_keys_are_all_listed(s3_server, store, bucket, tmp_path):
    # In every folder the file that is read comes last: after the hidden ones, and so on every page of 1,000 keys.
    keys = [
        f"shop/day={day:02}/{name}.csv" for day in range(50) for name in ("part", *(f"_{n:03}" for n in range(199)))
    ]
    assert len(keys) == 10_000
    put_all(s3_server, bucket, [(key, event(key.split("/")[1])) for key in keys])
    started = time.monotonic()
    summary = ingest(f"s3://{bucket}/shop", outputs_in(tmp_path))
    assert time.monotonic() - started < 40
    account = summary.account["events"]
    assert (account.files, account.rows, account.kept) == (50, 50, 50)
    assert account.skipped == {"name begins with '_' or '.'": 9_950}
    assert {row["user_id"] for row in read(tmp_path)} == {f"day={day:02}" for day in range(50)}


ODD = (
    "a b.csv",
    "a+b.csv",
    "a%20b.csv",
    "事件 一.csv",
    "中文夹/二.csv",
    "what?.csv",
    "x#y.csv",
    "[1] *.csv",
    "it's & <é>.csv",
)


def test_keys_with_any_characters_are_read(store, bucket, tmp_path):
    for number, name in enumerate(ODD):
        store.put_object(Bucket=bucket, Key=f"shop/{name}", Body=event(f"u{number}"))
    ingest(f"s3://{bucket}/shop", outputs_in(tmp_path / "all"))
    assert {row["user_id"] for row in read(tmp_path / "all")} == {f"u{number}" for number in range(len(ODD))}
    for number, name in enumerate(ODD):
        ingest(f"s3://{bucket}/shop/{name}", outputs_in(tmp_path / str(number)))
        assert [row["user_id"] for row in read(tmp_path / str(number))] == [f"u{number}"], name


def parquet():
    sink = io.BytesIO()
    columns = {"user_id": ["u"], "item_id": ["i"], "event_type": ["view"], "timestamp": ["2024-03-01"]}
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


SECOND = {"b.csv": event("u"), "b.csv.zst": pa.compress(event("u"), "zstd", asbytes=True), "b.parquet": parquet()}


@pytest.mark.parametrize("name", SECOND)
def test_key_that_vanishes_after_the_listing_is_named(four, through, store, bucket, tmp_path, name):
    store.delete_object(Bucket=bucket, Key="shop/b.csv")
    store.put_object(Bucket=bucket, Key=f"shop/{name}", Body=SECOND[name])

    def fault(method, path):
        if (method, path) == ("GET", f"/{bucket}/shop/a.csv"):
            store.delete_object(Bucket=bucket, Key=f"shop/{name}")

    through(fault)
    with pytest.raises(InputError, match=f"{bucket}/shop/{name} was removed after the source was listed") as refused:
        ingest(four, outputs_in(tmp_path))
    assert "run again" in refused.value.fix and not refused.value.transient
    assert_nothing_written(tmp_path)


def test_key_that_changes_after_the_listing_is_named(four, through, store, bucket, tmp_path):
    def fault(method, path):
        if (method, path) == ("GET", f"/{bucket}/shop/a.csv"):
            store.put_object(Bucket=bucket, Key="shop/b.csv", Body=event("another"))

    through(fault)
    with pytest.raises(InputError, match=f"{bucket}/shop/b.csv was changed while it was read"):
        ingest(four, outputs_in(tmp_path))
    assert_nothing_written(tmp_path)


@pytest.mark.parametrize(("times", "method", "part"), [(1, "GET", "/shop/b.csv"), (2, "GET", "/shop/b.csv"),
                                                       (2, "GET", "list-type=2"), (2, "HEAD", "/shop")])  # fmt: skip
def test_slow_down_is_tried_again(four, through, tmp_path, times, method, part):
    proxy = through(slow_down(times, method, part))
    assert ingest(four, outputs_in(tmp_path)).events == 4
    assert len(proxy.answered) == times


@pytest.mark.slow
@pytest.mark.parametrize(("part", "named"), [("/shop/b.csv", "/shop/b.csv cannot be read now"),
                                             ("list-type=2", "/shop' cannot be opened")])  # fmt: skip
def test_slow_down_that_stays_ends_with_the_key_in_bounded_time(four, through, bucket, tmp_path, part, named):
    proxy, started = through(slow_down(1_000_000, "GET", part)), time.monotonic()
    with pytest.raises(InputError, match=rf"{bucket}{named}: .*reduce your request rate") as refused:
        ingest(four, outputs_in(tmp_path))
    # Two rounds of botocore's five tries, with waits of up to 15 s; of a listing, two of them.
    assert time.monotonic() - started < 75
    assert refused.value.transient and "run again later" in refused.value.fix
    assert len(proxy.answered) == (10 if part.endswith(".csv") else 20)
    assert_nothing_written(tmp_path)
