"""Figures of two real predictors, once through a real Prometheus and once through their inference logs."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from components.rollout_model.evidence import LogEvidence, PrometheusEvidence, Versions
from components.shared.errors import InputError
from components.shared.telemetry.inference_log import Answered, Compared, LogWriter
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from tests.cluster.prometheus import scraped, scraping

PREDICT = "/v1/models/shoprank:predict"
NOTHING = {"filters": {"categories": ["no such category"]}}


@pytest.fixture(scope="module")
def predictors(shelves, tmp_path_factory):
    """Champion, copying to the candidate, and candidate: (clients, versions, prometheus, its targets, logs)."""
    folder = tmp_path_factory.mktemp("pair")
    root, one, two = shelves
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        bundles = [root / "handmade" / "versions" / version for version in (one, two)]
        words = ("--inference_log", str(logs))
        candidate = stack.enter_context(running(bundles[1], PredictorConfig(further=words)))
        further = (*words, "--shadow_url", candidate.url)
        champion = stack.enter_context(running(bundles[0], PredictorConfig(further=further)))
        clients = [stack.enter_context(httpx.Client(base_url=at.url, trust_env=False)) for at in (champion, candidate)]
        targets = [at.url.removeprefix("http://") for at in (champion, candidate)]
        prometheus, listed = stack.enter_context(scraping(folder, targets))
        yield clients, Versions(one, two), prometheus, listed, logs


@pytest.fixture
def pair(predictors):
    """See `predictors`; Prometheus has seen what the test before asked."""
    scraped(predictors[2], targets=2)
    return predictors


def settled(evidence, slow, requests):
    """Intervals until that many requests were seen, added up."""
    total, overlaps = {"champion": [0, 0, 0, 0], "candidate": [0, 0, 0, 0]}, []

    def complete() -> bool:
        interval = evidence.read(slow)
        for name in total:
            arm = getattr(interval, name)
            found = (arm.requests, arm.errors, arm.empty, arm.slow)
            total[name] = [a + b for a, b in zip(total[name], found, strict=True)]
        overlaps.extend(interval.overlaps)
        return [total["champion"][0], total["candidate"][0]] == requests and len(overlaps) >= requests[0]

    eventually(complete)
    return total, overlaps


def looks(evidence, slow, requests):
    """The candidate's figures of each look until that many requests were seen."""
    arms = []
    eventually(lambda: arms.append(evidence.read(slow).candidate) or sum(arm.requests for arm in arms) >= requests)
    return arms


def test_both_sources_count_the_same_real_requests(pair):
    clients, versions, prometheus, _, logs = pair
    for _ in range(5):
        clients[0].post(PREDICT, json={"instances": [{"k": 5}]})
    scraped(prometheus, targets=2)
    sources = PrometheusEvidence(prometheus, versions), LogEvidence(logs, versions)
    found = [source.p99() for source in sources]
    assert all(0.001 <= value < 1 for value in found) and found[1] <= found[0] <= found[1] * 2
    for source in sources:
        source.begin(found[0])
    for client, asked in ((clients[0], 20), (clients[1], 10)):
        for number in range(asked):
            request = NOTHING if number < 4 else {"k": 5}
            assert client.post(PREDICT, json={"instances": [request]}).status_code == 200
    for source in sources:
        total, overlaps = settled(source, found[0], [20, 10])
        assert total["champion"][:3] == [20, 0, 4] and total["candidate"][:3] == [10, 0, 4]
        assert 0 <= total["champion"][3] <= 20
        assert overlaps == [1.0] * 20, "the same model answers the copies"
        again = source.read(found[0])
        assert (again.champion.requests, again.candidate.requests, again.overlaps) == (0, 0, ())


def test_everything_is_slow_under_a_low_limit_and_nothing_under_a_high_one(pair):
    clients, versions, prometheus, _, logs = pair
    for limit, slow in ((0.0005, 6), (30.0, 0)):
        for source in (PrometheusEvidence(prometheus, versions), LogEvidence(logs, versions)):
            scraped(prometheus, targets=2)
            source.begin(limit)
            for _ in range(6):
                clients[1].post(PREDICT, json={"instances": [{"k": 1}]})
            arms = looks(source, limit, 6)
            assert (sum(arm.requests for arm in arms), sum(arm.slow for arm in arms)) == (6, slow)


def test_a_reader_goes_on_where_another_stopped(pair):
    clients, versions, prometheus, _, logs = pair
    for make in (lambda: PrometheusEvidence(prometheus, versions), lambda: LogEvidence(logs, versions)):
        scraped(prometheus, targets=2)
        first = make()
        first.begin(1.0)
        state = json.loads(json.dumps(first.to_json()))
        for _ in range(3):
            clients[1].post(PREDICT, json={"instances": [{"k": 1}]})
        second = make()
        second.restore(state)
        assert sum(arm.requests for arm in looks(second, 1.0, 3)) == 3


def test_a_restarted_pod_is_counted_from_nought(pair, shelves):
    _, versions, prometheus, listed, _ = pair
    before = listed.read_text()
    try:
        evidence = PrometheusEvidence(prometheus, versions)
        evidence.begin(1.0)
        bundle = shelves[0] / "handmade" / "versions" / versions.candidate
        seen, port = 0, 0
        for asked in (4, 3):
            with running(bundle, PredictorConfig(http_port=port)) as pod, httpx.Client(trust_env=False) as client:
                port = int(pod.url.rsplit(":", 1)[1])
                targets = json.loads(before)[0]["targets"]
                listed.write_text(json.dumps([{"targets": [*targets, f"127.0.0.1:{port}"]}]))
                for _ in range(asked):
                    client.post(pod.url + PREDICT, json={"instances": [{"k": 1}]})
                seen += sum(arm.requests for arm in looks(evidence, 1.0, asked))
        assert seen == 7
    finally:
        listed.write_text(before)


@contextlib.contextmanager
def answering(scrapes):
    """A server that answers every look as Prometheus would after the next of these scrapes of version b.

    Args:
        scrapes: Requests that were counted as outcomes, and those whose time was, all slow.
    """
    left = list(scrapes)

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            outcomes, timed = left.pop(0)
            of = {"version": "b", "traffic": "live"}
            series = [
                ({"__name__": "shoprank_outcomes_total", "outcome": "ok", **of}, outcomes),
                ({"__name__": "shoprank_answer_seconds_bucket", "le": "+Inf", **of}, timed),
                ({"__name__": "shoprank_answer_seconds_bucket", "le": "1.0", **of}, 0),
            ]
            result = [{"metric": labels, "value": [0, str(value)]} for labels, value in series]
            body = json.dumps({"status": "success", "data": {"result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    assert not left, "one look asks once: a scrape between two questions would tear the counts apart"


@pytest.mark.parametrize("between", [(6, 0), (0, 6), (4, 6)])
def test_a_slow_answer_scraped_in_the_midst_of_counting_is_not_lost(between):
    with answering([(0, 0), between, (6, 6), (9, 9)]) as url:
        evidence = PrometheusEvidence(url, Versions("a", "b"))
        evidence.begin(1.0)
        first = [evidence.read(1.0).candidate for _ in range(2)]
        state = json.loads(json.dumps(evidence.to_json()))
        evidence = PrometheusEvidence(url, Versions("a", "b"))
        evidence.restore(state)
        looks = [*first, evidence.read(1.0).candidate]
    assert all(arm.slow <= arm.requests for arm in looks)
    assert sum(arm.requests for arm in looks) == 9
    # What came without its request is counted with the next ones, as far as there are any.
    assert sum(arm.slow for arm in looks) == (9 if between != (6, 0) else 3)


def test_a_prometheus_that_is_away_is_no_data():
    evidence = PrometheusEvidence("http://127.0.0.1:9", Versions("a", "b"))
    interval = evidence.read(1.0)
    assert (interval.champion.requests, interval.candidate.requests) == (0, 0)


def test_errors_of_the_log_are_counted_and_other_versions_left_out(tmp_path):
    evidence = LogEvidence(tmp_path, Versions("a", "b"))
    writer = LogWriter(tmp_path, "pod")
    for version, outcome, shadow in (
        ("b", "error", False),
        ("b", "busy", False),
        ("b", "ok", True),
        ("c", "error", False),
    ):
        writer.write(Answered(time=0, request_id="r", version=version, outcome=outcome, seconds=1, shadow=shadow))
    compared = {"time": 0, "request_id": "r", "version": "a", "drift": 0, "seconds": 1}
    writer.write(Compared(candidate="b", overlap=0.5, **compared))
    writer.write(Compared(candidate="c", overlap=0.1, **compared))
    writer.close()
    interval = evidence.read(0.5)
    assert (interval.candidate.requests, interval.candidate.errors, interval.candidate.slow) == (2, 2, 2)
    assert interval.champion.requests == 0 and interval.overlaps == (0.5,)


def test_places_that_cannot_be_are_named(tmp_path):
    with pytest.raises(InputError, match="prometheus is 'monitoring:9090'"):
        PrometheusEvidence("monitoring:9090", Versions("a", "b"))
    with pytest.raises(InputError, match="does not exist"):
        LogEvidence(tmp_path / "none", Versions("a", "b"))
