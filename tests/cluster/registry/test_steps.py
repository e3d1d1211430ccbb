"""Steps that read from an object store: the fingerprint of a source there, and what a step does while it is away."""

import json
import os
import subprocess
import sys
import threading

import botocore.session
import pytest

from components.shared.errors import InputError
from components.shared.fingerprint import fingerprint
from tests.cluster.tcp_proxy import TcpProxy

EVENTS = "user_id,item_id,event_type,timestamp\nu1,a,view,2024-03-01\nu2,b,purchase,2024-03-02\n"


@pytest.fixture
def source(bucket):
    """URI of a folder with one file, and a function that writes files there."""
    client = botocore.session.get_session().create_client("s3")

    def write(name, text):
        client.put_object(Bucket=bucket, Key=f"shop/{name}", Body=text.encode())

    write("events.csv", EVENTS)
    return f"s3://{bucket}/shop", write


def test_fingerprint_in_an_object_store_follows_content_and_names(source):
    uri, write = source
    first = fingerprint(uri)
    write("events.csv", EVENTS)
    assert fingerprint(uri) == first, "the ETag is that of the content"
    write("events.csv", EVENTS.replace("u1", "u3"))
    second = fingerprint(uri)
    write("more.csv", EVENTS)
    assert len({first, second, fingerprint(uri)}) == 3
    with pytest.raises(InputError, match=r"does not exist or is empty"):
        fingerprint(f"{uri}/none")


def ingest(folder, source, environment):
    """Run the step as its container does, with KFP's input; returns the process."""
    outputs = {
        name: {"artifacts": [{"name": name, "uri": f"{folder}/{name}", "type": {"schemaTitle": kind}, "metadata": {}}]}
        for name, kind in [(table, "system.Dataset") for table in ("events", "items", "users", "rejected")]
        + [("summary", "system.Metrics")]
    }
    given = {
        "inputs": {"parameterValues": {"source": source, "size": "tiny", "data": {}, "fingerprint": ""}},
        "outputs": {"artifacts": outputs, "outputFile": f"{folder}/output.json"},
    }
    command = [sys.executable, "-m", "components.step", "kfp.dsl.executor_main", "ingest_events", "--executor_input"]
    return subprocess.run(
        [*command, json.dumps(given)], capture_output=True, text=True, env={**os.environ, **environment}, timeout=200
    )


def test_step_tries_again_until_the_object_store_is_back(source, s3_server, tmp_path):
    proxy = TcpProxy(("127.0.0.1", s3_server.port))
    try:
        gone = threading.Thread(target=proxy.away, args=(30,))
        gone.start()
        done = ingest(tmp_path, source[0], s3_server.environment(proxy.port))
        gone.join()
    finally:
        proxy.close()
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trying again in 10 s" in done.stderr
    written = json.loads((tmp_path / "output.json").read_text())["artifacts"]
    assert written["events"]["artifacts"][0]["metadata"]["rows"] == 2


@pytest.mark.parametrize(("address", "retries"), [("none", "3"), ("shop", "0")])
def test_step_tries_once_where_it_is_no_outage_or_no_retry_is_wanted(source, s3_server, tmp_path, address, retries):
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"} if retries == "0" else {}
    uri = source[0].removesuffix("shop") + address
    done = ingest(tmp_path, uri, {**s3_server.environment(), **away, "SHOPRANK_RETRIES": retries})
    assert done.returncode == 1 and "trying again" not in done.stderr
    assert "InputError" in done.stderr and "fix:" in done.stderr
    assert not (tmp_path / "events").exists()
