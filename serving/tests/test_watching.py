"""Outcomes by version, the inference log and the shadow, on real predictor processes."""

import http.server
import itertools
import json
import shutil
import threading

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.shared.errors import InputError
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.signing import load_or_create_key
from components.shared.telemetry.inference_log import Answered, Compared, LogReader, LogWriter, line_of
from components.shared.telemetry.latency import LATENCY_BOUNDS, bound_above
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.shadow import HEADER, ShadowConfig, overlap
from serving.tests.handmade import AS_OF

PREDICT = "/v1/models/shoprank:predict"


@pytest.fixture(scope="module")
def pair(signed, tmp_path_factory):
    """A predictor with another version as its shadow: (its client, the shadow's client, log folders)."""
    folder = tmp_path_factory.mktemp("pair")
    other = folder / "other"
    shutil.copytree(signed[0], other)
    (other / "licences.json").write_text('{"other": true}\n')
    write_manifest(other, BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=("a", "b")))
    sign(other, load_or_create_key(signed[1].with_suffix("")))
    logs = folder / "logs", folder / "other-logs"
    config = PredictorConfig(further=("--inference_log", str(logs[1])))
    with running(other, config) as candidate:
        flags = ("--inference_log", str(logs[0]), "--shadow_url", candidate.url)
        with (
            running(signed[0], PredictorConfig(further=flags)) as champion,
            httpx.Client(base_url=champion.url, trust_env=False) as client,
            httpx.Client(base_url=candidate.url, trust_env=False) as other_client,
        ):
            yield client, other_client, logs


def samples(client, name):
    """{labels: value} of one metric."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families for sample in family.samples if sample.name == name
    }  # fmt: skip


def test_shadow_request_is_answered_compared_and_never_returned(pair):
    client, _, logs = pair
    request = {"instances": [{"user_id": "ann", "query": "milk", "k": 5, "context": {"timestamp": AS_OF}}]}
    answer = client.post(PREDICT, json=request, headers={"x-request-id": "copied-1"}).json()["predictions"][0]
    compared = eventually(lambda: [one for one in LogReader(logs[0]).read() if isinstance(one, Compared)])
    assert [one.request_id for one in compared] == ["copied-1"]
    assert compared[0].version == answer["model_version"] != compared[0].candidate
    assert compared[0].overlap == 1.0 and compared[0].drift == pytest.approx(0, abs=1e-5) and compared[0].seconds > 0
    copies = [one for one in LogReader(logs[1]).read() if isinstance(one, Answered)]
    assert [(one.request_id, one.shadow, one.version) for one in copies] == [("copied-1", True, compared[0].candidate)]
    assert copies[0].items == tuple(item["item_id"] for item in answer["items"])
    live = next(one for one in LogReader(logs[0]).read() if isinstance(one, Answered))
    assert (live.request_id, live.shadow, live.outcome) == ("copied-1", False, "ok")
    text = (next(logs[0].glob("*.jsonl"))).read_text()
    assert "ann" not in text and "milk" not in text, "the log names no shopper and no query"


def test_outcomes_are_counted_by_version_and_traffic(pair):
    client, other, _ = pair
    before = samples(client, "shoprank_outcomes_total")
    version = client.post(PREDICT, json={"instances": [{"k": 1}]}).json()["predictions"][0]["model_version"]
    nothing = {"instances": [{"filters": {"categories": ["no such category"]}}]}
    assert client.post(PREDICT, json=nothing).json()["predictions"][0]["items"] == []
    client.post(PREDICT, json={"instances": [{"k": 0}]})
    after = samples(client, "shoprank_outcomes_total")

    def increase(outcome):
        labels = (("outcome", outcome), ("traffic", "live"), ("version", version))
        return after.get(labels, 0) - before.get(labels, 0)

    assert (increase("ok"), increase("empty"), increase("error")) == (1, 1, 0), "a bad request is the client's"
    assert {dict(labels)["traffic"] for labels in samples(other, "shoprank_outcomes_total")} == {"shadow"}
    counted = samples(client, "shoprank_answer_seconds_bucket")
    assert {float(dict(labels)["le"]) for labels in counted} == {*LATENCY_BOUNDS, float("inf")}


def test_shadow_request_is_not_copied_again(pair):
    client, _, _ = pair
    before = sum(samples(client, "shoprank_shadow_total").values())
    client.post(PREDICT, json={"instances": [{"k": 1}]}, headers={HEADER: "1"})
    client.post(PREDICT, json={"instances": [{"k": 1}]})
    # Copies are counted in order: a copy of the first request would be counted before that of the second.
    assert eventually(lambda: sum(samples(client, "shoprank_shadow_total").values()) > before)
    assert sum(samples(client, "shoprank_shadow_total").values()) == before + 1


def test_live_requests_do_not_wait_for_an_absent_or_hanging_shadow(signed, tmp_path):
    import socket

    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(1)
        absent = "http://127.0.0.1:9"
        for url, outcome in ((absent, "absent"), (f"http://127.0.0.1:{hanging.getsockname()[1]}", "dropped")):
            config = PredictorConfig(further=("--shadow_url", url))
            with (
                running(signed[0], config) as predictor,
                httpx.Client(base_url=predictor.url, trust_env=False) as client,
            ):
                client.post(PREDICT, json={"instances": [{"k": 3}]})
                for _ in range(100):
                    assert client.post(PREDICT, json={"instances": [{"k": 3}]}).status_code == 200
                # If a request waited for its copy, the queue would have room for the copy of the next one.
                assert eventually(lambda key=(("outcome", outcome),): samples(client, "shoprank_shadow_total").get(key))


class Wrong(http.server.BaseHTTPRequestHandler):
    """Answers every POST with 200 and a page."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *words):
        pass


def test_invalid_shadow_answers_are_counted_and_do_not_block_shutdown(signed):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wrong) as wrong:
        thread = threading.Thread(target=wrong.serve_forever, args=(0.02,))
        thread.start()
        flags = ("--shadow_url", f"http://127.0.0.1:{wrong.server_port}")
        with running(signed[0], PredictorConfig(further=flags)) as champion:
            with httpx.Client(base_url=champion.url, trust_env=False) as client:
                for _ in range(80):  # More than fit into the queue, which a dead thread would leave full.
                    assert client.post(PREDICT, json={"instances": [{"k": 1}]}).status_code == 200
                errors = (("outcome", "error"),)
                assert eventually(lambda: samples(client, "shoprank_shadow_total").get(errors, 0) >= 16)
            champion.process.terminate()
            champion.process.wait(60)
        wrong.shutdown()
        thread.join()


def answered(number):
    return Answered(time=1.0, request_id=f"r{number}", version="v", outcome="ok", seconds=0.1, items=("a", "燕"))


def test_log_rotates_and_a_reader_resumes_at_its_offset(tmp_path):
    writer = LogWriter(tmp_path, "pod", rotate_bytes=500)
    for number in range(10):
        writer.write(answered(number))
    writer.close()
    assert len(list(tmp_path.glob("*.jsonl"))) > 1
    reader = LogReader(tmp_path)
    assert [one.request_id for one in reader.read()] == [f"r{number}" for number in range(10)]
    last = sorted(tmp_path.glob("*.jsonl"))[-1]
    with last.open("a") as stream:
        stream.write(line_of(answered(10)) + '{"kind": "answ')
    late = LogReader(tmp_path)
    late.skip()
    again = LogReader(tmp_path, json.loads(json.dumps(reader.offsets)))
    assert [one.request_id for one in again.read()] == ["r10"], "half a line waits"
    with last.open("a") as stream:
        stream.write('ered"}\n')
    with pytest.raises(InputError, match="is not a valid record of the inference log"):
        list(again.read())
    with pytest.raises(InputError, match="is not a valid record"):
        list(late.read())  # its offset is before the incomplete line, not inside it
    late.skip()
    assert list(late.read()) == []


def test_log_keeps_its_file_while_no_new_one_can_be_created(tmp_path):
    writer = LogWriter(tmp_path / "logs", "pod", rotate_bytes=1)
    (tmp_path / "logs").rename(tmp_path / "moved")
    for number in range(3):
        writer.write(answered(number))
    eventually(lambda: len(list(LogReader(tmp_path / "moved").read())) == 3, 3)
    (tmp_path / "logs").mkdir()
    writer.write(answered(3))
    writer.write(answered(4))
    writer.close()
    found = [one for position in ("moved", "logs") for one in LogReader(tmp_path / position).read()]
    assert found == [answered(number) for number in range(5)] and writer.dropped == 0


def test_full_queue_drops_and_counts_records(tmp_path):
    writer = LogWriter(tmp_path, "pod", waiting=1)
    for number in range(2000):
        writer.write(answered(number))
    writer.close()
    assert writer.dropped + len(list(LogReader(tmp_path).read())) == 2000


def test_invalid_log_folder_and_shadow_url_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--inference_log"):
        LogWriter(tmp_path / "file" / "logs", "pod")
    with pytest.raises(InputError, match="--shadow_url is 'shoprank'"):
        ShadowConfig(url="shoprank")


def test_overlap_of_lists_and_latency_bounds():
    assert overlap([], []) == 1.0 and overlap(["a"], []) == 0.0 and overlap(list("abcd"), list("abxy")) == 0.5
    assert bound_above(0.001) == 0.001 and bound_above(0.00101) == 0.0011 and bound_above(60) == float("inf")
    assert all(1.09 < b / a < 1.11 for a, b in itertools.pairwise(LATENCY_BOUNDS))
